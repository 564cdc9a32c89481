# DeepLabV3+-R101 with DSRL. Options: pspnet_r101_dsrl.py.
_base_ = './deeplabv3plus_r101.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # DeepLabV3+ predicts on stride 4 of the network's input, 1/8 of the canvas: one deconvolution, to 1/4.
        upsampler=dict(type='DeconvUpsampler', factors=(2,), norm_cfg={{_base_.norm_cfg}}),
    ),
    sr_aux=dict(
        head=dict(
            type='SISRAuxHead',
            in_channels=(256, 2048),
            in_index=(0, 3),
            upscale_factor=8,
            norm_cfg={{_base_.norm_cfg}},
        ),
        fa=dict(type='FALoss', subsample=2),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
