# DABNet with DSRL as SSSR early + SISR: SSSR also reads the features at stride 2, and there is no FA. Options:
# pspnet_r101_dsrl.py; other numbers: dabnet_dsrl.py.
_base_ = './dabnet.py'
sr_norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        skip=dict(in_index=0, in_channels=35),
        decode_head=dict(_base_.model.decode_head, in_index=1),  # of the features at strides 4 and 8
        # 24 channels: with 32, inference would take 1.11 times the baseline's time.
        upsampler=dict(type='DeconvUpsampler', channels=24, factors=(2, 2), norm_cfg=sr_norm_cfg),
    ),
    sr_aux=dict(
        head=dict(type='SISRAuxHead', in_channels=(131, 259), in_index=(1, 2), upscale_factor=8, norm_cfg=sr_norm_cfg),
        norm_cfg=sr_norm_cfg,
    ),
)
