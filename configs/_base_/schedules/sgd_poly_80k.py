# The paper gives no number of iterations; 80k of batch 8 (4 GPUs x 2) is MMSegmentation's for PSPNet and DeepLabV3+.
_base_ = './sgd_poly.py'
max_iters = 80000
train_cfg = dict(max_iters=max_iters, val_interval=8000)
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=max_iters, by_epoch=False)]
# lr is for 8 images a step; with fewer or more it is scaled.
auto_scale_lr = dict(base_batch_size=8, enable=True)
