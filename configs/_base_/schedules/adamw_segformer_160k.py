# MMSegmentation's recipe for SegFormer on Cityscapes: batch 8 (8 GPUs x 1).
_base_ = './sgd_poly.py'
max_iters = 160000
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys={'pos_block': dict(decay_mult=0.0), 'norm': dict(decay_mult=0.0), 'head': dict(lr_mult=10.0)}
    ),
)
train_cfg = dict(max_iters=max_iters, val_interval=16000)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=1500, end=max_iters, by_epoch=False),
]
auto_scale_lr = dict(base_batch_size=8, enable=True)
