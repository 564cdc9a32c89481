# The demo's baseline: DeepLabV3+ with a ResNet-18 of half the width, small enough for minutes on two cores.
_base_ = [
    '../../../configs/_base_/models/deeplabv3plus_r101.py',
    './dataset.py',
    '../../../configs/_base_/schedules/sgd_poly.py',
    '../../../configs/_base_/default_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.seg', 'projects.street_scenes.dataset'], allow_failed_imports=False)
randomness = dict(seed=0)
model = dict(
    low_res_labels=True,
    data_preprocessor=dict(size={{_base_.crop_size}}),
    backbone=dict(depth=18, stem_channels=32, base_channels=32, init_cfg=None),
    decode_head=dict(
        in_channels=256,
        channels=64,
        dilations=(1, 3, 6, 9),
        c1_in_channels=32,
        c1_channels=16,
        num_classes=9,
        loss_decode=dict(avg_non_ignore=True),
    ),
    auxiliary_head=dict(in_channels=128, channels=32, num_classes=9, loss_decode=dict(avg_non_ignore=True)),
)
max_iters = 400
optim_wrapper = dict(
    optimizer=dict(lr=0.05),
    # In so few steps, a branch whose loss weighs 0.1 learns too little to guide others: DSRL's, at ten times the rate.
    paramwise_cfg=dict(custom_keys={'sr_aux.head': dict(lr_mult=10.0)}),
)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=20, by_epoch=False),
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=20, end=max_iters, by_epoch=False),
]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=max_iters))
