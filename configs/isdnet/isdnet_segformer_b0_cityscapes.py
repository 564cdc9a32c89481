# SegFormer-B0 + ISD on Cityscapes; SegFormer reads 256x512 of 1024x2048.
_base_ = [
    '../_base_/models/isdnet_segformer_b0.py',
    '../_base_/datasets/cityscapes_crop_512x1024.py',
    '../_base_/schedules/adamw_segformer_160k.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
model = dict(data_preprocessor=dict(size={{_base_.crop_size}}))
# Classifiers of training learn as fast as the heads.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(sr_aux=dict(lr_mult=10.0))))
