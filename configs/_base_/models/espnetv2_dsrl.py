# ESPNetv2 with DSRL. Options: pspnet_r101_dsrl.py.
_base_ = './espnetv2.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # ESPNetv2 predicts on stride 2 of the network's input, from 10 channels: one deconvolution, to 1/2 of the
        # canvas, as narrow as the features it reads.
        upsampler=dict(type='DeconvUpsampler', channels=8, factors=(2,), norm_cfg={{_base_.norm_cfg}}),
    ),
    sr_aux=dict(
        # Strides 4 and 16 on the network's input: 8 and 32 on the canvas.
        head=dict(
            type='SISRAuxHead',
            in_channels=(128, 512),
            in_index=(1, 3),
            upscale_factor=8,
            norm_cfg={{_base_.norm_cfg}},
        ),
        # SSSR's features lie on 1/2 of the canvas: compared on the paper's 1/8.
        fa=dict(type='FALoss', subsample=4),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
