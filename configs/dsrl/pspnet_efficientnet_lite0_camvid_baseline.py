# PSPNet with EfficientNet-Lite0 at output stride 8 on a 360x480 canvas of CamVid, reading 180x240: the paper's network
# with a backbone that trains on a CPU. Its logits have 1/16 of the canvas's sides.
_base_ = './deeplabv3plus_efficientnet_lite0_camvid_baseline.py'
model = dict(
    backbone=dict(output_stride=8),
    decode_head=dict(
        _delete_=True,
        type='PSPHead',
        in_channels=320,
        in_index=3,
        channels=64,
        pool_scales=(1, 2, 3, 6),
        dropout_ratio=0.1,
        num_classes=11,
        norm_cfg={{_base_.norm_cfg}},
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        sampler=dict(type='ClassWeightSampler', weights='CamVidDataset'),
    ),
)
