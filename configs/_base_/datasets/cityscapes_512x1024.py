# Cityscapes on a 512x1024 canvas; with scale_factor=2 the network reads 256x512.
_base_ = './cityscapes.py'
crop_size = (512, 1024)
# Resize, RandomCrop, and the sizes of multi-scale testing. Evaluation is on the labels' full size.
_base_.train_pipeline[2].scale = _base_.test_pipeline[1].scale = crop_size[::-1]
_base_.train_pipeline[3].crop_size = crop_size
_base_.tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(1024 * quarters // 4, 512 * quarters // 4), keep_ratio=True) for quarters in range(2, 8)
]
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
