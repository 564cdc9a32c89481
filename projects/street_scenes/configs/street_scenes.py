# Generated street scenes, on a 192x384 canvas. With scale_factor=2 the network's input is 96x192.
crop_size = (192, 384)
metainfo = dict(
    classes=('sky', 'building', 'road', 'pavement', 'tree', 'car', 'pole', 'sign', 'rider'),
    palette=[
        [130, 190, 235],
        [115, 105, 110],
        [128, 64, 128],
        [232, 180, 205],
        [80, 150, 50],
        [25, 40, 150],
        [250, 245, 235],
        [250, 205, 0],
        [225, 30, 45],
    ],
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
dataset = dict(
    type='BaseSegDataset', data_root='{{$STREET_SCENES_ROOT:demo_out/data}}', img_suffix='.png', metainfo=metainfo
)
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'), pipeline=train_pipeline, **dataset
    ),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(data_prefix=dict(img_path='images/val', seg_map_path='labels/val'), pipeline=test_pipeline, **dataset),
)
test_evaluator = dict(type='ClassIoUMetric', iou_metrics=['mIoU'])
