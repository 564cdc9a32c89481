# CWFID: crops and weeds on 966x1296 (Haug and Ostermann, CVPPP 2014). Trains on crops, tests on whole images.
dataset = dict(
    type='BaseSegDataset',
    data_root='{{$CWFID_ROOT:data/cwfid}}',
    metainfo=dict(classes=('soil', 'crop', 'weed'), palette=[[0, 0, 0], [0, 180, 0], [200, 0, 0]]),
)
crop_size = (480, 640)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # Much of a photograph is soil.
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.95),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        dataset, data_prefix=dict(img_path='images/train', seg_map_path='labels/train'), pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, data_prefix=dict(img_path='images/val', seg_map_path='labels/val'), pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
