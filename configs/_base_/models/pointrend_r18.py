# PointRend (Kirillov et al., CVPR 2020) on ResNet-18 with FPN: MMSegmentation's model with a smaller backbone.
_base_ = '../segmentor.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
loss_decode = dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0)
model = dict(
    _delete_=True,
    type='CascadeEncoderDecoder',
    data_preprocessor={{_base_.model.data_preprocessor}},
    num_stages=2,
    backbone=dict(
        type='ResNetV1c',
        depth=18,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnet18_v1c'),
    ),
    neck=dict(type='FPN', in_channels=[64, 128, 256, 512], out_channels=256, num_outs=4),
    decode_head=[
        dict(
            type='FPNHead',
            in_channels=[256, 256, 256, 256],
            in_index=[0, 1, 2, 3],
            feature_strides=[4, 8, 16, 32],
            channels=128,
            dropout_ratio=0,
            num_classes=19,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=loss_decode,
        ),
        dict(
            type='PointHead',
            in_channels=[256],
            in_index=[0],
            channels=256,
            dropout_ratio=0,
            num_classes=19,
            align_corners=False,
            loss_decode=loss_decode,
        ),
    ],
    train_cfg=dict(num_points=2048, oversample_ratio=3, importance_sample_ratio=0.75),
    # From 1/4 of the image to all of it, in two steps of at most so many points.
    test_cfg=dict(mode='whole', subdivision_steps=2, subdivision_num_points=8196, scale_factor=2),
)
