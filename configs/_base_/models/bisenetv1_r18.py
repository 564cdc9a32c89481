# BiSeNet (Yu et al., ECCV 2018, https://arxiv.org/abs/1808.00897), MMSegmentation's, with ResNet-18. With its stock
# heads: the baseline. The backbone gives 256 channels at stride 8 (fused), 128 at 8 and 128 at 16 (context path).
#
# 59.17 GFLOPs at 512x1024, two per multiply-add; DSRL's paper prints 49.20 and does not describe its network. Of ours
# 9.74 are the decode head's, a 3x3 convolution to 256 channels and the classifier; with 64, as in the BiSeNet authors'
# TorchSeg, they would be 2.44 and the sum 51.86.
_base_ = '../segmentor.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    # MMSegmentation's BiSeNetV1 builds all but its ResNet with plain batch norm, whatever norm_cfg it is given.
    backbone=dict(
        type='BiSeNetV1',
        backbone_cfg=dict(
            type='ResNet',
            depth=18,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            dilations=(1, 1, 1, 1),
            strides=(1, 2, 2, 2),
            norm_cfg=norm_cfg,
            norm_eval=False,
            style='pytorch',
            # torchvision's weights. MMSegmentation's own config names resnet18_v1c, whose three-layer stem is not
            # this ResNet's, so that its first layer would stay random.
            init_cfg=dict(type='Pretrained', checkpoint='https://download.pytorch.org/models/resnet18-f37072fd.pth'),
        ),
        context_channels=(128, 256, 512),
        spatial_channels=(64, 64, 64, 128),
        out_indices=(0, 1, 2),
        out_channels=256,
        align_corners=False,
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=256,
        in_index=0,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
    ),
    # Both outputs of the context path, weighted as the principal loss is.
    auxiliary_head=[
        dict(
            type='FCNHead',
            in_channels=128,
            in_index=in_index,
            channels=64,
            num_convs=1,
            concat_input=False,
            num_classes=19,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True, loss_weight=1.0),
        )
        for in_index in (1, 2)
    ],
)
