# DeepLabV3+ with EfficientNet-Lite0 on images of your own, with DSRL as SSSR early + SISR. Set data_root, classes and
# canvas as ../_base_/datasets/custom.py explains.
_base_ = [
    '../_base_/models/deeplabv3plus_efficientnet_lite0_early.py',
    '../_base_/datasets/custom.py',
    '../_base_/schedules/adamw_custom.py',
    '../_base_/short_runtime.py',
]
model = dict(
    channels_last=True,  # a quarter faster on CPUs
    data_preprocessor=dict(size='${tuple(canvas)}', test_cfg=dict(size='${tuple(canvas)}')),
    decode_head=dict(decode_head=dict(num_classes='${len(classes)}')),
)
