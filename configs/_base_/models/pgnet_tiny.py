# PGNet at a fraction of its width, to train from scratch on a CPU: ResNet-18 at half the width, three stages of a Swin
# Transformer on 112x112, and a decoder of 32 channels.
_base_ = './pgnet_swin-b.py'
norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(sizes=[176, 192, 208]),
    backbone=dict(
        cnn=dict(stem_channels=32, base_channels=32, norm_cfg=norm_cfg, init_cfg=None),
        transformer=dict(embed_dims=48, depths=(2, 2, 2), num_heads=(2, 4, 8), drop_path_rate=0.1, init_cfg=None),
        transformer_size=112,
    ),
    neck=dict(in_channels=(256, 96), channels=32, num_heads=4, norm_cfg=norm_cfg),
    decode_head=dict(in_channels=(32, 64, 128, 48, 192, 192, 32), channels=32, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=(32, 32, 4), norm_cfg=norm_cfg),
)
