# As sr_aux_resnet.py, for the basic blocks of ResNet-18.
_base_ = './sr_aux_resnet.py'
sr_aux = dict(head=dict(in_channels=(64, 512)))
