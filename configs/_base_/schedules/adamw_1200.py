# For a few dozen images on a CPU.
_base_ = './adamw_camvid_60e.py'
max_iters = 1200
train_cfg = dict(max_iters=max_iters, val_interval=200)
param_scheduler = [dict(type='PolyLR', eta_min=1e-6, power=0.9, begin=0, end=max_iters, by_epoch=False)]
