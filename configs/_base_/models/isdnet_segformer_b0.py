# ISDNet with SegFormer-B0 (Xie et al., 2021) as the deep network: "SegFormer-B0 + ISD" of the paper's Table 4.
_base_ = './isdnet_r18.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='MixVisionTransformer',
        embed_dims=32,
        num_layers=[2, 2, 2, 2],
        num_heads=[1, 2, 5, 8],
        sr_ratios=[8, 4, 2, 1],
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/mit_b0_20220624-7e0fe6dd.pth',
        ),
    ),
    decode_head=dict(
        decode_head=dict(
            _delete_=True,
            type='SegformerHead',
            in_channels=[32, 64, 160, 256],
            in_index=[0, 1, 2, 3],
            channels=256,
            dropout_ratio=0.1,
            num_classes=19,
            norm_cfg={{_base_.norm_cfg}},
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
        ),
    ),
    auxiliary_head=None,
    # The head's grid is 1/4 of its input, 1/16 of the canvas.
    sr_aux=dict(sr=dict(factors=(2, 2, 2))),
)
