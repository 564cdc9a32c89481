# HRNet-w32 with DSRL on 512x384 crops of COCO persons, reading 256x192: Table 5 of the paper.
_base_ = [
    '../_base_/models/hrnet_w32_dsrl.py',
    '../_base_/datasets/coco_keypoints.py',
    '../_base_/schedules/adam_210e.py',
    '../_base_/pose_runtime.py',
]
model = dict(head=dict(decoder={{_base_.codec}}))
