# PGNet with ResNet-18 and Swin-T on DUTS.
_base_ = [
    '../_base_/models/pgnet_swin-t.py',
    '../_base_/datasets/saliency_1024.py',
    '../_base_/schedules/sgd_pgnet_32e.py',
    '../_base_/default_runtime.py',
]
custom_imports = dict(imports=['dsrl_mm.uhr'])
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=5))
