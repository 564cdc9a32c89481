# ISDNet on 360x480 of CamVid. Its deep network, DeepLabV3+ with EfficientNet-Lite0, reads a quarter of each side. It
# trains on a CPU, from ImageNet weights that a package carries.
_base_ = [
    '../_base_/models/isdnet_efficientnet_lite0.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/adamw_camvid_60e.py',
    '../_base_/short_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(
    channels_last=True,  # as the other configs of this network
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    decode_head=dict(
        decode_head=dict(num_classes=11, sampler=dict(type='ClassWeightSampler', weights='CamVidDataset'))
    ),
)
