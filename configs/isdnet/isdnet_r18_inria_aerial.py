# ISDNet-R18 on Inria Aerial; its deep network reads a quarter of each side of 5000x5000.
_base_ = [
    '../_base_/models/isdnet_r18.py',
    '../_base_/datasets/inria_aerial.py',
    '../_base_/schedules/sgd_poly_40k.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    decode_head=dict(decode_head=dict(num_classes=2)),
    auxiliary_head=dict(num_classes=2),
)
