# PSPNet-R18 on CamVid: a 360x480 canvas, of which the network reads 180x240. Trains on a CPU.
_base_ = [
    '../_base_/models/pspnet_r18.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/sgd_poly_80k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size={{_base_.crop_size}}),
    decode_head=dict(num_classes=11),
    auxiliary_head=dict(num_classes=11),
)
# 30 epochs of 46 batches of 8.
max_iters = 1380
train_cfg = dict(max_iters=max_iters, val_interval=460)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=230))
