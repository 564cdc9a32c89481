# DABNet on a 1024x2048 canvas, reading 512x1024: Table 3 of the paper, "without".
_base_ = [
    '../_base_/models/dabnet.py',
    '../_base_/datasets/cityscapes.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    low_res_labels=True,
    data_preprocessor=dict(size={{_base_.crop_size}}),
    # A 16th of the pixels that it learns, as its authors have it.
    decode_head=dict(sampler=dict(min_kept=512 * 1024 // 16)),
)
