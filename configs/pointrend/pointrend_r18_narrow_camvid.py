# PointRend-R18 at half the width on CamVid, reading all of the 360x480 canvas, from random weights. Trains on a CPU.
_base_ = [
    '../_base_/models/pointrend_r18.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/adamw_camvid_60e.py',
    '../_base_/short_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
_base_.model.decode_head[0].update(
    in_channels=[64] * 4,
    channels=64,
    num_classes=11,
    sampler=dict(type='ClassWeightSampler', weights='CamVidDataset'),
)
_base_.model.decode_head[1].update(in_channels=[64], channels=64, num_classes=11)
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    backbone=dict(stem_channels=32, base_channels=32, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    decode_head=_base_.model.decode_head,
)
