# COCO keypoints on a 320x256 canvas; with scale_factor=2 the network reads 160x128.
_base_ = './coco_keypoints.py'
# sigma is a multiple of 1/3: with other values, MMPose draws Gaussians near the left and upper border one cell off.
codec = dict(input_size=(256, 320), heatmap_size=(64, 80), sigma=8 / 3)
# TopdownAffine and GenerateTarget.
_base_.train_pipeline[5].input_size = _base_.val_pipeline[2].input_size = codec['input_size']
_base_.train_pipeline[6].encoder = dict(_base_.codec, **codec)
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
test_dataloader = val_dataloader
