# PGNet with Swin-T, for machines without a GPU: 25 M parameters instead of 73 M.
_base_ = './pgnet_swin-b.py'
model = dict(
    backbone=dict(
        transformer=dict(
            embed_dims=96,
            depths=(2, 2, 6),
            num_heads=(3, 6, 12),
            drop_path_rate=0.2,
            init_cfg=dict(
                checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/'
                'swin_tiny_patch4_window7_224_20220317-1cdeb081.pth'
            ),
        )
    ),
    neck=dict(in_channels=(512, 192)),
    decode_head=dict(in_channels=(64, 128, 256, 96, 384, 384, 64)),
)
