# DeepLabV3-R18 at half the width on CWFID, reading a quarter of each side. Trains on a CPU.
_base_ = [
    '../_base_/models/deeplabv3_r18_narrow.py',
    '../_base_/datasets/cwfid.py',
    '../_base_/schedules/adamw_1200.py',
    '../_base_/short_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(
    scale_factor=4,
    channels_last=True,  # a tenth faster on CPUs
    data_preprocessor=dict(size={{_base_.crop_size}}),
    decode_head=dict(num_classes=3),
    auxiliary_head=dict(num_classes=3),
)
default_hooks = dict(checkpoint=dict(interval=200))
