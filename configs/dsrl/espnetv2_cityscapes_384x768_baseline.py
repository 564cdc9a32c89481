# ESPNetv2 on a 768x1536 canvas, reading 384x768: the baseline of Table 2 of the paper.
_base_ = [
    '../_base_/models/espnetv2.py',
    '../_base_/datasets/cityscapes_768x1536.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(low_res_labels=True, data_preprocessor=dict(size={{_base_.crop_size}}))
