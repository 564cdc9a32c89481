# ESPNetv2 on a 736x960 canvas of CamVid, reading 368x480: Table 4 of the paper.
_base_ = [
    '../_base_/models/espnetv2.py',
    '../_base_/datasets/camvid_736x960.py',
    '../_base_/schedules/sgd_poly_20k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    low_res_labels=True,
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    decode_head=dict(num_classes=11),
)
