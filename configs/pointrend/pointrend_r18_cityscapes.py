# PointRend-R18 on Cityscapes, reading all of 1024x2048.
_base_ = [
    '../_base_/models/pointrend_r18.py',
    '../_base_/datasets/cityscapes_crop_512x1024.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
