# PGNet with the authors' encoders: ResNet-18 on the image, three stages of Swin-B on 224x224 of it.
norm_cfg = dict(type='SyncBN')
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='MultiScalePreProcessor',
        sizes=[960, 992, 1024, 1056, 1088],
        mean=[124.55, 118.90, 102.94],
        std=[56.77, 55.97, 57.50],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(
        type='PGBackbone',
        cnn=dict(
            type='ResNet',
            depth=18,
            norm_cfg=norm_cfg,
            init_cfg=dict(type='Pretrained', checkpoint='https://download.pytorch.org/models/resnet18-f37072fd.pth'),
        ),
        transformer=dict(
            type='SwinTransformer',
            embed_dims=128,
            depths=(2, 2, 18),
            num_heads=(4, 8, 16),
            window_size=7,
            # The authors spread 0.5 over 24 blocks and use the first 22.
            drop_path_rate=0.5 * 21 / 23,
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/'
                'swin_base_patch4_window7_224_22k_20220317-4f79f7c0.pth',
            ),
        ),
        transformer_size=224,
    ),
    neck=dict(type='GraftingNeck', in_channels=(512, 256), channels=64, num_heads=8, norm_cfg=norm_cfg),
    decode_head=dict(
        type='PGHead',
        in_channels=(64, 128, 256, 128, 512, 512, 64),
        channels=64,
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        norm_cfg=norm_cfg,
        loss_decode=dict(type='BCEIoULoss'),
    ),
    # In training alone.
    auxiliary_head=dict(
        type='AttentionGuideHead',
        in_channels=(64, 64, 8),
        num_classes=2,
        out_channels=1,
        threshold=0.5,
        norm_cfg=norm_cfg,
        loss_decode=dict(type='BCEIoULoss', loss_weight=0.125),
        loss_attention=dict(type='AttentionGuidedLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
