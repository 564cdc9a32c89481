# ISDNet-R18 at half the width on 360x480 of CamVid; its deep network reads a quarter of each side. Trains on a CPU.
_base_ = [
    '../_base_/models/isdnet_r18_narrow.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/adamw_camvid_60e.py',
    '../_base_/short_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(
    channels_last=True,  # a tenth faster on CPUs
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    decode_head=dict(
        decode_head=dict(num_classes=11, sampler=dict(type='ClassWeightSampler', weights='CamVidDataset'))
    ),
    auxiliary_head=dict(num_classes=11),
)
