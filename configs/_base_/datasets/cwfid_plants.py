# The plants of CWFID, crops and weeds, as one object, on 192x256.
dataset = dict(
    type='BaseSegDataset',
    data_root='{{$CWFID_ROOT:data/cwfid}}',
    metainfo=dict(classes=('soil', 'plant'), palette=[[0, 0, 0], [0, 180, 0]]),
)
load_mask = dict(type='LoadMask', object_ids=(1, 2))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    load_mask,
    dict(type='Resize', scale=(256, 192), keep_ratio=False),
    dict(type='RandomBorderCrop'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 192), keep_ratio=False),
    load_mask,  # after Resize: predictions are compared with masks of the original size
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
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
val_evaluator = [dict(type='ClassIoUMetric', iou_metrics=['mIoU']), dict(type='SODMetric')]
test_evaluator = val_evaluator
