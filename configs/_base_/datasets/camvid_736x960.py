# CamVid's original 720x960 frames, padded to a 736x960 canvas; with scale_factor=2 the network reads 368x480.
_base_ = './camvid.py'
crop_size = (736, 960)
_base_.train_pipeline[2].scale = _base_.test_pipeline[1].scale = (960, 720)
_base_.train_pipeline[3].crop_size = crop_size
_base_.tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(960 * quarters // 4, 720 * quarters // 4), keep_ratio=True) for quarters in (3, 4, 5)
]
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
