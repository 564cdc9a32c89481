# ISDNet with PSPNet-R18 as the deep network: "PSPNet + ISD" of the paper's Table 4.
_base_ = './isdnet_r18.py'
model = dict(
    decode_head=dict(
        decode_head=dict(
            _delete_=True,
            type='PSPHead',
            in_channels=512,
            in_index=3,
            channels=128,
            pool_scales=(1, 2, 3, 6),
            dropout_ratio=0.1,
            num_classes=19,
            norm_cfg={{_base_.norm_cfg}},
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
        ),
    ),
)
