# DeepLabV3-R18 at half the width on CamVid, reading all of the 360x480 canvas. Trains on a CPU.
_base_ = [
    '../_base_/models/deeplabv3_r18_narrow.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/adamw_camvid_60e.py',
    '../_base_/short_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(
    scale_factor=1,
    channels_last=True,  # a tenth faster on CPUs
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    decode_head=dict(num_classes=11, sampler=dict(type='ClassWeightSampler', weights='CamVidDataset')),
    auxiliary_head=dict(num_classes=11),
)
