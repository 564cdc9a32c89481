# As sgd_poly_80k.py, for ISDNet on Inria Aerial: 40k of batch 4 (4 GPUs x 1).
_base_ = './sgd_poly_80k.py'
max_iters = 40000
train_cfg = dict(max_iters=max_iters, val_interval=4000)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
auto_scale_lr = dict(base_batch_size=4)
