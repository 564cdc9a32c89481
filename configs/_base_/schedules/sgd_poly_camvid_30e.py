# For CamVid on a CPU: 30 epochs of 91 batches of 4.
_base_ = './sgd_poly.py'
max_iters = 2730
train_cfg = dict(max_iters=max_iters, val_interval=455)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
