# DeepLabV3's ASPP (Chen et al., 2017) on ResNet-18, output stride 8: the deep network of ISDNet. With scale_factor=1,
# it reads the whole image.
_base_ = './pspnet_r18.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='ASPPHead',
        in_channels=512,
        in_index=3,
        channels=128,
        dilations=(1, 12, 24, 36),
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg={{_base_.norm_cfg}},
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
)
