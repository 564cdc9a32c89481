# HRNet-w32 with DSRL on 320x256 crops of COCO persons, reading 160x128: Table 5 of the paper.
_base_ = [
    '../_base_/models/hrnet_w32_dsrl.py',
    '../_base_/datasets/coco_keypoints_320x256.py',
    '../_base_/schedules/adam_210e.py',
    '../_base_/pose_runtime.py',
]
model = dict(head=dict(decoder={{_base_.codec}}))
