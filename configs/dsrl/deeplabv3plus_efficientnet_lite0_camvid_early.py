# As deeplabv3plus_efficientnet_lite0_camvid.py, where SSSR's stack also reads the features at stride 2, whose edges no
# enlarging brings back; and FA, at the weight of the authors' slides, compares correlations with a guide that it does
# not change.
_base_ = './deeplabv3plus_efficientnet_lite0_camvid.py'
model = dict(
    backbone=dict(out_indices=(0, 1, 2, 3, 4)),  # from stride 2 on
    decode_head=dict(skip=dict(in_index=0, in_channels=16)),
    sr_aux=dict(
        head=dict(in_index=(1, 4)),
        fa=dict(loss_weight=0.1, center=True, detach_guide=True),
    ),
)
