# DeepLabV3+-R101 with DSRL on a 1024x2048 canvas, reading 512x1024: Table 3 of the paper, "with".
_base_ = [
    '../_base_/models/deeplabv3plus_r101_dsrl.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
