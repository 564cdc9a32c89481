# The persons of COCO as one object, drawn by tools/dataset_converters/coco_masks.py, on 192x192.
dataset = dict(
    type='BaseSegDataset',
    data_prefix=dict(img_path='{{$COCO_ROOT:data/coco}}/images', seg_map_path='{{$COCO_MASKS:data/coco_masks}}/masks'),
    metainfo=dict(classes=('background', 'person'), palette=[[0, 0, 0], [220, 20, 60]]),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='Resize', scale=(192, 192), keep_ratio=False),
    dict(type='RandomBorderCrop'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(192, 192), keep_ratio=False),
    # After Resize: predictions are compared with masks of the original size.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(dataset, ann_file='{{$COCO_MASKS:data/coco_masks}}/train.txt', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(dataset, ann_file='{{$COCO_MASKS:data/coco_masks}}/val.txt', pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='ClassIoUMetric', iou_metrics=['mIoU']), dict(type='SODMetric')]
test_evaluator = val_evaluator
