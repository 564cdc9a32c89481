# ESPNetv2 (Mehta et al., CVPR 2019) of width 2.0: the network of its authors' Cityscapes and PASCAL VOC results, and
# the one whose operations the DSRL paper counts. It predicts on 1/2 of the network's input, and is trained without an
# auxiliary head and without dropout.
_base_ = '../segmentor.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    backbone=dict(
        type='ESPNetv2',
        widen_factor=2.0,
        norm_cfg=norm_cfg,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://github.com/sacmehta/ESPNetv2/raw/master/imagenet/pretrained_weights/espnetv2_s_2.0.pth',
        ),
    ),
    decode_head=dict(
        type='ESPNetv2Head',
        in_channels=(32, 128, 256, 512),
        # Half of 20 classes: the authors count Cityscapes' background as one.
        channels=10,
        dropout_ratio=0,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
)
