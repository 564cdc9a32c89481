# Cityscapes on a 640x1280 canvas; with scale_factor=2 the network reads 320x640.
_base_ = './cityscapes.py'
crop_size = (640, 1280)
# Resize, RandomCrop, and the sizes of multi-scale testing. Evaluation is on the labels' full size.
_base_.train_pipeline[2].scale = _base_.test_pipeline[1].scale = crop_size[::-1]
_base_.train_pipeline[3].crop_size = crop_size
_base_.tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(1280 * quarters // 4, 640 * quarters // 4), keep_ratio=True) for quarters in range(2, 8)
]
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
