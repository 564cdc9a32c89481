# A narrow HRNet with DSRL on 256x192 crops of a cut-down COCO, reading 128x96. Trains on a CPU.
_base_ = [
    '../_base_/models/hrnet_narrow_dsrl.py',
    '../_base_/datasets/coco_keypoints_mini.py',
    '../_base_/schedules/adam_300.py',
    '../_base_/pose_short_runtime.py',
]
model = dict(head=dict(decoder={{_base_.codec}}))
