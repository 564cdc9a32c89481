# As deeplabv3plus_efficientnet_lite0_camvid.py, but SSSR early + SISR: SSSR also reads the features at stride 2, and
# there is no FA.
_base_ = [
    '../_base_/models/deeplabv3plus_efficientnet_lite0_early.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/adamw_camvid_60e.py',
    '../_base_/short_runtime.py',
]
model = dict(
    channels_last=True,  # a quarter faster on CPUs
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    decode_head=dict(
        decode_head=dict(num_classes=11, sampler=dict(type='ClassWeightSampler', weights='CamVidDataset'))
    ),
)
