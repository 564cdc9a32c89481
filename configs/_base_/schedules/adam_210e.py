# MMPose's recipe for HRNet on COCO (td-hm_hrnet-w32_8xb64-210e_coco-256x192), which is that of HRNet's paper (Sec. 4.1,
# https://arxiv.org/abs/1902.09212): Adam, 210 epochs, lr 5e-4 for 512 persons a step (8 GPUs x 64), a tenth of it from
# epoch 170 and again from epoch 200. The DSRL paper does not give its own.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=5e-4))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=500, start_factor=0.001, by_epoch=False),
    dict(type='MultiStepLR', begin=0, end=210, milestones=[170, 200], gamma=0.1, by_epoch=True),
]
# lr is for 8 GPUs x 64 persons; with fewer in a step it is scaled down.
auto_scale_lr = dict(base_batch_size=512, enable=True)
train_cfg = dict(by_epoch=True, max_epochs=210, val_interval=10)
val_cfg = dict()
test_cfg = dict()
