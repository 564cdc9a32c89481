# PSPNet-R18 on a 360x480 canvas of CamVid, reading 180x240. Trains on a CPU.
_base_ = [
    '../_base_/models/pspnet_r18.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/sgd_poly_camvid_30e.py',
    '../_base_/short_runtime.py',
]
model = dict(
    low_res_labels=True,
    data_preprocessor=dict(size={{_base_.crop_size}}, test_cfg=dict(size={{_base_.crop_size}})),
    decode_head=dict(num_classes=11),
    auxiliary_head=dict(num_classes=11),
)
