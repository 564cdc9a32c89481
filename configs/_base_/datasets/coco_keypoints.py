# COCO keypoints, top-down, person crops on a 512x384 canvas; with scale_factor=2 the network reads 256x192.
dataset_type = 'CocoDataset'
data_mode = 'topdown'  # MMPose's inferencer reads it
data_root = '{{$COCO_ROOT:data/coco}}'
# DSRL's grid, a quarter of the canvas on each side. sigma is 1/32 of its height, as in MMPose's configs (2 on 64 rows,
# 3 on 96): the Gaussian is as wide on the person, whatever the grid, so targets of both twins agree,
# and those of all sizes but 160x128, where it is 1/30 (see there).
codec = dict(type='MSRAHeatmap', input_size=(384, 512), heatmap_size=(96, 128), sigma=4)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody'),
    dict(type='RandomBBoxTransform'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='annotations/person_keypoints_train2017.json',
        data_prefix=dict(img='train2017/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_mode=data_mode,
        ann_file='annotations/person_keypoints_val2017.json',
        # Persons as a detector of 56.4 AP found them, as everyone reports. Ground-truth boxes: bbox_file=None.
        bbox_file=data_root + '/person_detection_results/COCO_val2017_detections_AP_H_56_person.json',
        data_prefix=dict(img='val2017/'),
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', ann_file=data_root + '/annotations/person_keypoints_val2017.json')
test_evaluator = val_evaluator
