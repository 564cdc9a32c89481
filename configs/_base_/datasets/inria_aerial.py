# Inria Aerial, 5000x5000, as ISDNet's authors train and test on it: crops of images at 0.8 of the size, whole images.
dataset = dict(type='InriaAerialDataset', data_root='{{$INRIA_ROOT:data/inria_aerial}}')
crop_size = (2000, 2000)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # A tile of 2500x2500 becomes one crop.
    dict(type='Resize', scale_factor=0.8, keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotate', prob=0.5, degree=(90.0, 270.0), seg_pad_val=255),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        dataset, data_prefix=dict(img_path='images/train', seg_map_path='labels/train'), pipeline=train_pipeline
    ),
)
evaluation = dict(
    batch_size=1, num_workers=2, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=False)
)
val_dataloader = dict(
    evaluation,
    dataset=dict(dataset, data_prefix=dict(img_path='images/val', seg_map_path='labels/val'), pipeline=test_pipeline),
)
test_dataloader = dict(
    evaluation,
    dataset=dict(dataset, data_prefix=dict(img_path='images/test', seg_map_path='labels/test'), pipeline=test_pipeline),
)
# Papers on ultra-high resolution give the IoU of buildings, which is mIoU here; mIoU_all is over both classes.
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU', 'mFscore'], left_out=['background'])
test_evaluator = val_evaluator
