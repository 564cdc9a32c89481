# ISDNet-R18 on DeepGlobe; its deep network reads a quarter of each side of 2448x2448.
_base_ = [
    '../_base_/models/isdnet_r18.py',
    '../_base_/datasets/deepglobe.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    decode_head=dict(decode_head=dict(num_classes=7)),
    auxiliary_head=dict(num_classes=7),
)
