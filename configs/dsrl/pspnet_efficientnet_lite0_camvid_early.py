# As pspnet_efficientnet_lite0_camvid_baseline.py, with SSSR early + SISR: SSSR also reads the features at stride 2, and
# there is no FA.
_base_ = './pspnet_efficientnet_lite0_camvid_baseline.py'
model = dict(
    low_res_labels=False,
    backbone=dict(out_indices=(0, 1, 2, 3, 4)),  # from stride 2 on
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        skip=dict(in_index=0, in_channels=16),
        decode_head={{_base_.model.decode_head}},  # does not see the features at stride 2
        upsampler=dict(type='DeconvUpsampler', channels=32, factors=(2, 2), norm_cfg={{_base_.norm_cfg}}),
    ),
    sr_aux=dict(
        head=dict(
            type='SISRAuxHead',
            in_channels=(24, 320),
            in_index=(1, 4),
            upscale_factor=8,
            channels=32,
            norm_cfg={{_base_.norm_cfg}},
        ),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
