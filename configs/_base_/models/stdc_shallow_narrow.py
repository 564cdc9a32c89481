# The shallow network of isdnet_r18_narrow.py alone, with a head: the rival of ISDNet at the same speed.
_base_ = '../segmentor.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
loss_decode = dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0)
model = dict(
    scale_factor=1,
    backbone=dict(type='STDCShallow', in_channels=3, base_channels=32, norm_cfg=norm_cfg),
    decode_head=dict(
        type='FCNHead',
        in_channels=(128, 256),
        in_index=(0, 1),
        input_transform='resize_concat',
        channels=64,
        num_convs=2,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=loss_decode,
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=256,
        in_index=1,
        channels=32,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(loss_decode, loss_weight=0.4),
    ),
)
