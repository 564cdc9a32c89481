# DeepGlobe land cover, 2448x2448, as ISDNet's authors train and test on it: crops of half the side, whole images.
dataset = dict(type='DeepGlobeDataset', data_root='{{$DEEPGLOBE_ROOT:data/deepglobe}}')
crop_size = (1224, 1224)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomRotate', prob=0.5, degree=(90.0, 270.0), seg_pad_val=255),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        dataset, data_prefix=dict(img_path='images/train', seg_map_path='labels/train'), pipeline=train_pipeline
    ),
)
evaluation = dict(
    batch_size=1, num_workers=4, persistent_workers=True, sampler=dict(type='DefaultSampler', shuffle=False)
)
val_dataloader = dict(
    evaluation,
    dataset=dict(dataset, data_prefix=dict(img_path='images/val', seg_map_path='labels/val'), pipeline=test_pipeline),
)
test_dataloader = dict(
    evaluation,
    dataset=dict(dataset, data_prefix=dict(img_path='images/test', seg_map_path='labels/test'), pipeline=test_pipeline),
)
# Papers give the mean over six classes, which is mIoU here; mIoU_all is over all seven.
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU', 'mFscore'], left_out=['unknown'])
test_evaluator = val_evaluator
