# HRNet with a quarter of w32's channels and fewer blocks: trains from scratch on a CPU.
_base_ = './hrnet_w32.py'
model = dict(
    backbone=dict(
        extra=dict(
            stage1=dict(num_blocks=(1,), num_channels=(16,)),
            stage2=dict(num_blocks=(2, 2), num_channels=(8, 16)),
            stage3=dict(num_modules=1, num_blocks=(2, 2, 2), num_channels=(8, 16, 32)),
            stage4=dict(num_modules=1, num_blocks=(2, 2, 2, 2), num_channels=(8, 16, 32, 64)),
        ),
        init_cfg=None,
    ),
    head=dict(in_channels=8),
)
