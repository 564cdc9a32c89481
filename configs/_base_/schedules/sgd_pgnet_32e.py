# The authors' recipe (https://github.com/iCVTEAM/PGNet): 32 epochs of 2 GPUs x 8 images, SGD with Nesterov momentum, lr
# 0.03 and 0.003 for the transformer, weight decay 5e-4 on everything.
#
# Their losses are divided by the number of GPUs before DDP averages the gradients, which halves these. Twice the weight
# decay at half the rate is exactly the same training, so these are the values here. For the values as published, with
# whole gradients, set lr=0.03 and weight_decay=5e-4.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='SGD', lr=0.015, momentum=0.9, weight_decay=1e-3, nesterov=True),
    paramwise_cfg=dict(custom_keys={'backbone.transformer': dict(lr_mult=0.1)}),
)
param_scheduler = [dict(type='RampedCosineLR', end=32, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=32, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
# lr is for 16 images a step; with fewer or more it is scaled.
auto_scale_lr = dict(base_batch_size=16, enable=True)
