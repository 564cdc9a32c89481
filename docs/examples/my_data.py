_base_ = './configs/dsrl/deeplabv3plus_efficientnet_lite0_camvid_early.py'
classes = ('road', 'car', 'person')
palette = [(128, 64, 128), (0, 0, 142), (220, 20, 60)]
# The canvas, on which masks are learned and predicted; the network reads half of each side. Take multiples of 32, the
# network's stride times 2: else coarse features lie beside the fine ones, by how much depends on the size.
height, width = 512, 1024
for pipeline in (_base_.train_pipeline, _base_.test_pipeline):
    for step in pipeline:
        if step.type in ('RandomResize', 'Resize'):
            step.scale = (width, height)
        if step.type == 'RandomCrop':
            step.crop_size = (height, width)
crop_size = (height, width)
for step, scale in zip(_base_.tta_pipeline[-1].transforms[0], (0.75, 1.0, 1.25)):  # tools/test.py --tta
    step.scale = (int(scale * width), int(scale * height))
tta_pipeline = _base_.tta_pipeline
max_iters = 20000  # of 4 images each
train_cfg = dict(max_iters=max_iters, val_interval=2000)
param_scheduler = [dict(type='PolyLR', eta_min=1e-6, power=0.9, begin=0, end=max_iters, by_epoch=False)]
data = dict(
    _delete_=True,
    type='BaseSegDataset',
    data_root='/path/to/my_data',
    img_suffix='.jpg',
    metainfo=dict(classes=classes, palette=palette),
)
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'), pipeline=_base_.train_pipeline, **data
    )
)
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='images/val', seg_map_path='labels/val'), pipeline=_base_.test_pipeline, **data
    )
)
test_dataloader = val_dataloader
# sampler: for rare classes, dict(type='ClassWeightSampler', weights=[one per class]), such as
# 1 / ln(1.10 + share of the training pixels) over the mean of these over the training pixels
head = dict(num_classes=len(classes), sampler=None)
model = dict(data_preprocessor=dict(size=(height, width)), decode_head=dict(decode_head=head))
