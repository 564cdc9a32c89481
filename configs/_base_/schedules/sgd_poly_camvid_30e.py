# For CamVid on a CPU: 30 epochs of 46 batches of 8.
_base_ = './sgd_poly_80k.py'
max_iters = 1380
train_cfg = dict(max_iters=max_iters, val_interval=460)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
