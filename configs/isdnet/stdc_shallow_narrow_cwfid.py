# The shallow network of ISDNet alone, at half the width, on CWFID, reading all of the canvas. Trains on a CPU.
_base_ = [
    '../_base_/models/stdc_shallow_narrow.py',
    '../_base_/datasets/cwfid.py',
    '../_base_/schedules/adamw_1200.py',
    '../_base_/short_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(
    channels_last=True,  # a tenth faster on CPUs
    data_preprocessor=dict(size={{_base_.crop_size}}),
    decode_head=dict(num_classes=3),
    auxiliary_head=dict(num_classes=3),
)
default_hooks = dict(checkpoint=dict(interval=200))
