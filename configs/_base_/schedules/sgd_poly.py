# Sec. 4.1 of the paper: SGD, momentum 0.9, weight decay 5e-4, initial lr 0.01, poly with power 0.9. For how long, the
# files say that build on this one.
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4), clip_grad=None
)
train_cfg = dict(type='IterBasedTrainLoop')
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
