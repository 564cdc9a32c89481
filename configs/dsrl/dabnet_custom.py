# DABNet on images of your own, with DSRL as SSSR early + SISR. Set data_root, classes and canvas as
# ../_base_/datasets/custom.py explains.
_base_ = [
    '../_base_/models/dabnet_early.py',
    '../_base_/datasets/custom.py',
    '../_base_/schedules/adamw_custom.py',
    '../_base_/short_runtime.py',
]
model = dict(
    channels_last=True,  # a tenth faster on CPUs
    data_preprocessor=dict(size='${tuple(canvas)}', test_cfg=dict(size='${tuple(canvas)}')),
    decode_head=dict(decode_head=dict(num_classes='${len(classes)}', sampler=None)),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
