# DeepLabV3+-R101 on a 896x1792 canvas, reading 448x896: the baseline of Table 2 of the paper.
_base_ = [
    '../_base_/models/deeplabv3plus_r101.py',
    '../_base_/datasets/cityscapes_896x1792.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(low_res_labels=True, data_preprocessor=dict(size={{_base_.crop_size}}))
