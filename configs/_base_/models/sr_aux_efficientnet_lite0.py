# As sr_aux_resnet.py, for EfficientNet-Lite0, whose stages have fewer channels: half as many here, too.
_base_ = './sr_aux_resnet.py'
sr_aux = dict(head=dict(in_channels=(24, 320), channels=32))
