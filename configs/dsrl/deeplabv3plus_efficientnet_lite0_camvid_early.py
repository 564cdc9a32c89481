# As deeplabv3plus_efficientnet_lite0_camvid.py, where SSSR's stack also reads the features at stride 2, and without FA:
# the form that pays.
_base_ = './deeplabv3plus_efficientnet_lite0_camvid.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3, 4)),  # from stride 2 on
    decode_head=dict(skip=dict(in_index=0, in_channels=16)),
    sr_aux=dict(_delete_=True, head=dict(_base_.model.sr_aux.head, in_index=(1, 4)), norm_cfg={{_base_.sr_norm_cfg}}),
)
