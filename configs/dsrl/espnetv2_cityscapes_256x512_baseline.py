# ESPNetv2 on a 512x1024 canvas, reading 256x512: the baseline of Tables 1 and 2 of the paper.
_base_ = [
    '../_base_/models/espnetv2.py',
    '../_base_/datasets/cityscapes_512x1024.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(low_res_labels=True, data_preprocessor=dict(size={{_base_.crop_size}}))
