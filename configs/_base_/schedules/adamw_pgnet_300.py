# A few minutes on a CPU, in bfloat16: 300 steps of AdamW from scratch, with the ramped cosine of PGNet.
max_iters = 300
optim_wrapper = dict(type='BFloat16OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.01))
param_scheduler = [dict(type='RampedCosineLR', peak=0.2, end=max_iters, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=150)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
