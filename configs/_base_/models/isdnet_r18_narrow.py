# ISDNet at half the width of isdnet_r18.py throughout, from random weights, to train on a CPU. The deep network reads
# the means of blocks, as that of a baseline does, and the guide of structure distillation is trained on the image.
_base_ = './deeplabv3_r18_narrow.py'
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
    sr_aux=dict(
        sr=dict(type='ISDSRDecoder', channels=32, factors=(4, 2, 2)),
        structure=dict(type='StructureDistillationLoss', per_channel=True),
    ),
)
