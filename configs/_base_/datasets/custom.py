# Images of your own. A config sets these variables, or --cfg-options does.
# The folder of images/{train,val}/NAME.jpg and labels/{train,val}/NAME.png, 8-bit class ids, 255 where unlabeled.
data_root = 'data/custom'
classes = None  # the names of the classes, in the order of their ids: ('road', 'car', 'person')
palette = []  # an (R, G, B) for each class in pictures; random if empty
img_suffix = '.jpg'
seg_map_suffix = '.png'
# Height and width in pixels, multiples of 32: the network's stride, 16, times scale_factor. Other sizes are padded
# inside the network, and its coarse features no longer align with the fine ones. Images are resized to fit into the
# canvas, and masks are learned and predicted on it. The network reads half of each side.
canvas = (512, 1024)

# What depends on variables is an expression, '${...}'. The commands in tools/ evaluate them after all overrides, as
# dsrl_mm.engine.config.read_config does. They also write the evaluated config to the work dir, for other programs.
crop_size = '${tuple(canvas)}'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale='${tuple(canvas[::-1])}', ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size='${tuple(canvas)}', cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale='${tuple(canvas[::-1])}', keep_ratio=True),
    # After Resize: predictions are compared with labels of the original size.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale='${(canvas[1] * 3 // 4, canvas[0] * 3 // 4)}', keep_ratio=True),
                dict(type='Resize', scale='${tuple(canvas[::-1])}', keep_ratio=True),
                dict(type='Resize', scale='${(canvas[1] * 5 // 4, canvas[0] * 5 // 4)}', keep_ratio=True),
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
dataset = dict(
    type='BaseSegDataset',
    data_root='${data_root}',
    metainfo=dict(classes='${tuple(classes)}', palette='${palette}'),
    img_suffix='${img_suffix}',
    seg_map_suffix='${seg_map_suffix}',
)
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
