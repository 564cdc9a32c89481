# For CamVid on a CPU: 60 epochs of 91 batches of 4. AdamW came furthest in short trials (docs/results.md).
_base_ = './sgd_poly.py'
max_iters = 5460
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.01))
train_cfg = dict(max_iters=max_iters, val_interval=910)
param_scheduler = [dict(type='PolyLR', eta_min=1e-6, power=0.9, begin=0, end=max_iters, by_epoch=False)]
