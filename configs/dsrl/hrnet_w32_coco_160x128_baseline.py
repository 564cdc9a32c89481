# HRNet-w32 on 320x256 crops of COCO persons, reading 160x128: Table 5 of the paper.
_base_ = [
    '../_base_/models/hrnet_w32.py',
    '../_base_/datasets/coco_keypoints_320x256.py',
    '../_base_/schedules/adam_210e.py',
    '../_base_/pose_runtime.py',
]
# The stock head's grid: a quarter of what the network reads. The Gaussian is as wide on the canvas as DSRL's.
codec = dict(_base_.codec, heatmap_size=(32, 40), sigma=4 / 3)
_base_.train_pipeline[6].encoder = codec
model = dict(head=dict(decoder=codec))
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
