# What every segmentation network here starts from: images normalized as ImageNet's, half of their sides read.
model = dict(
    type='DSRLSegmentor',
    scale_factor=2,
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
