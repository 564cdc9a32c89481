# ISDNet with DeepLabV3+ on EfficientNet-Lite0 as the deep network, which reads the means of blocks of 4x4 pixels, and a
# shallow network of half the width.
# There is no super-resolution branch: on CWFID, it changed nothing that one seed can tell (docs/results.md).
_base_ = './deeplabv3plus_efficientnet_lite0.py'
model = dict(
    type='ISDSegmentor',
    scale_factor=4,
    shallow=dict(type='STDCShallow', base_channels=32),
    decode_head=dict(
        _delete_=True,
        type='ISDHead',
        decode_head={{_base_.model.decode_head}},
        fusion=dict(type='RelationAwareFusion', channels=64, groups=8),
        channels=32,
    ),
    sr_aux=dict(),
)
