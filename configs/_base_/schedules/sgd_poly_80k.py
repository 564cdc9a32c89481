# Sec. 4.1 of the paper: SGD, momentum 0.9, weight decay 5e-4, initial lr 0.01, poly with power 0.9. The paper gives no
# number of iterations; 80k of batch 16 (8 GPUs x 2) is MMSegmentation's for PSPNet and DeepLabV3+.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4), clip_grad=None
)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=80000, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=8000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
