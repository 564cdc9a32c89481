# Crops of 512x1024 from Cityscapes at 0.5 to 2 times its size; tests on whole frames of 1024x2048.
_base_ = './cityscapes.py'
crop_size = (512, 1024)
_base_.train_pipeline[3].crop_size = crop_size
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
