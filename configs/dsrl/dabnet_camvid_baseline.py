# DABNet on a 360x480 canvas of CamVid, reading 180x240. Trains on a CPU.
_base_ = [
    '../_base_/models/dabnet.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/adamw_camvid_60e.py',
    '../_base_/short_runtime.py',
]
model = dict(
    low_res_labels=True,
    channels_last=True,  # a tenth faster on CPUs
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    decode_head=dict(num_classes=11, sampler=dict(_delete_=True, type='ClassWeightSampler', weights='CamVidDataset')),
)
optim_wrapper = dict(optimizer=dict(lr=2e-3))  # tried: projects/experiments/grids/camvid_dabnet_learning_rate.yml
