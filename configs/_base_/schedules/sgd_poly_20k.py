# As sgd_poly_80k.py, for data sets of some hundred images.
_base_ = './sgd_poly_80k.py'
max_iters = 20000
train_cfg = dict(max_iters=max_iters, val_interval=2000)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
