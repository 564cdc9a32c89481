# As dabnet_camvid.py, where SSSR's stack also reads the features at stride 2, whose edges no enlarging brings back; and
# FA, at the weight of the authors' slides, compares correlations with a guide that it does not change.
_base_ = './dabnet_camvid.py'
model = dict(
    decode_head=dict(
        skip=dict(in_index=0, in_channels=35),
        # 24 channels: with 32, inference would take 1.11 times the baseline's time.
        upsampler=dict(channels=24),
        decode_head=dict(in_index=1),  # of those that are left
    ),
    sr_aux=dict(fa=dict(loss_weight=0.1, center=True, detach_guide=True)),
)
