# A cut-down COCO for short runs, on a 256x192 canvas: one folder of images, two annotation files, ground-truth boxes.
_base_ = './coco_keypoints_256x192.py'
train_dataloader = dict(
    batch_size=16,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    dataset=dict(ann_file='annotations/person_keypoints_train_mini.json', data_prefix=dict(img='images/')),
)
val_ann_file = 'annotations/person_keypoints_val_mini.json'
val_dataloader = dict(dataset=dict(ann_file=val_ann_file, bbox_file=None, data_prefix=dict(img='images/')))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{_base_.data_root}/{val_ann_file}')
test_evaluator = val_evaluator
