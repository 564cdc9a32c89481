# BiSeNet-R18 on a 1024x2048 canvas, reading 512x1024: Table 3 of the paper, "without".
_base_ = [
    '../_base_/models/bisenetv1_r18.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(low_res_labels=True, data_preprocessor=dict(size={{_base_.crop_size}}))
