_base_ = './my_data.py'
model = dict(sr_aux=None)  # there is no image for SISR to rebuild
crop_size = '${tuple(canvas)}'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='EnlargeFrame', scale_factor=2),
    dict(type='AlignedRandomCrop', crop_size='${tuple(canvas)}', cat_max_ratio=0.75, scale_factor=2),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='EnlargeFrame', scale_factor=2),
    dict(type='PackSegInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
