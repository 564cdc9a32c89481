# deeplabv3_r18.py at half the width, from random weights: a quarter of the operations, to train on a CPU.
_base_ = './deeplabv3_r18.py'
model = dict(
    backbone=dict(stem_channels=32, base_channels=32, init_cfg=None),
    decode_head=dict(in_channels=256, channels=64),
    auxiliary_head=dict(in_channels=128, channels=32),
)
