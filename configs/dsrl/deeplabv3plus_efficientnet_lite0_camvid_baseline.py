# DeepLabV3+ with EfficientNet-Lite0 on a 360x480 canvas of CamVid, reading 180x240. Starts from ImageNet
# weights that a package carries, and trains on one CPU core in an hour.
_base_ = [
    '../_base_/models/deeplabv3plus_efficientnet_lite0.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/adamw_camvid_60e.py',
    '../_base_/short_runtime.py',
]
model = dict(
    low_res_labels=True,
    channels_last=True,  # a quarter faster on CPUs
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    decode_head=dict(num_classes=11, sampler=dict(type='ClassWeightSampler', weights='CamVidDataset')),
)
