# As adamw_camvid_60e.py, for as many iterations as the variable max_iters says.
_base_ = './sgd_poly.py'
max_iters = 20000
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.01))
train_cfg = dict(max_iters='${max_iters}', val_interval='${max(1, max_iters // 10)}')
param_scheduler = [dict(type='PolyLR', eta_min=1e-6, power=0.9, begin=0, end='${max_iters}', by_epoch=False)]
