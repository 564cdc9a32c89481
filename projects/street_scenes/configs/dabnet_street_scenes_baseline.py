# The demo's baseline: DABNet on generated street scenes.
_base_ = [
    '../../../configs/_base_/models/dabnet.py',
    './street_scenes.py',
    '../../../configs/_base_/schedules/sgd_poly.py',
    '../../../configs/_base_/default_runtime.py',
]
randomness = dict(seed=0)
model = dict(
    low_res_labels=True,
    channels_last=True,  # faster on CPUs
    data_preprocessor=dict(size={{_base_.crop_size}}),
    decode_head=dict(in_index=-1, num_classes=9, sampler=None),
)
max_iters = 800
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=3e-3, weight_decay=0.01))
train_cfg = dict(max_iters=max_iters)
val_cfg = None  # tested after training
param_scheduler = [dict(type='PolyLR', eta_min=1e-6, power=0.9, begin=0, end=max_iters, by_epoch=False)]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=max_iters))
