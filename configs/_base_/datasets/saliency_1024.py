# Salient objects as PGNet reads them: 1024x1024, whatever the aspect ratio. Configs name the training sets.
data_root = '{{$SALIENCY_ROOT:data/saliency}}'
data_prefix = dict(img_path='image', seg_map_path='mask')  # within each of the roots
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadMask', soft=True),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False),
    dict(type='RandomBorderCrop'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1024, 1024), keep_ratio=False),
    dict(type='LoadMask'),  # after Resize: predictions are compared with masks of the original size
    dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    drop_last=True,
    dataset=dict(
        type='SaliencyDataset', data_root=data_root, data_prefix=data_prefix, roots=['DUTS-TR'], pipeline=train_pipeline
    ),
)
# No checkpoint is chosen by its result.
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SaliencyDataset', data_root=data_root, data_prefix=data_prefix, roots=['HRSOD-TE'], pipeline=test_pipeline
    ),
)
# Others: test_dataloader.dataset.roots=['DAVIS-S'], UHRSD-TE, DUTS-TE, DUT-OMRON.
test_dataloader = val_dataloader
val_evaluator = [dict(type='SODMetric'), dict(type='MeanBoundaryAccuracy', saliency=True)]
test_evaluator = val_evaluator
