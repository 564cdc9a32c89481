# As dabnet_camvid.py, where SSSR's stack also reads the features at stride 2, and without FA: the form that pays.
_base_ = './dabnet_camvid.py'
model = dict(
    decode_head=dict(
        skip=dict(in_index=0, in_channels=35),
        # 24 channels: with 32, inference would take 1.11 times the baseline's time.
        upsampler=dict(channels=24),
        decode_head=dict(in_index=1),  # of those that are left
    ),
    sr_aux=dict(_delete_=True, head={{_base_.model.sr_aux.head}}, norm_cfg={{_base_.sr_norm_cfg}}),
)
