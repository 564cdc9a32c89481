# PSPNet-R18 with DSRL. Grids and options: pspnet_r101_dsrl.py.
_base_ = './pspnet_r18.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        upsampler=dict(type='DeconvUpsampler', factors=(2, 2), norm_cfg={{_base_.norm_cfg}}),
    ),
    sr_aux=dict(
        head=dict(
            type='SISRAuxHead',
            in_channels=(64, 512),
            in_index=(0, 3),
            upscale_factor=8,
            norm_cfg={{_base_.norm_cfg}},
        ),
        fa=dict(type='FALoss', subsample=2),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
