# COCO keypoints on a 256x192 canvas; with scale_factor=2 the network reads 128x96.
_base_ = './coco_keypoints.py'
codec = dict(input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
# TopdownAffine and GenerateTarget.
_base_.train_pipeline[5].input_size = _base_.val_pipeline[2].input_size = codec['input_size']
_base_.train_pipeline[6].encoder = dict(_base_.codec, **codec)
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
test_dataloader = val_dataloader
