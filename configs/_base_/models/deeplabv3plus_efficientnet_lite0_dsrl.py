# DeepLabV3+ with EfficientNet-Lite0 and DSRL. Options: pspnet_r101_dsrl.py.
_base_ = './deeplabv3plus_efficientnet_lite0.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # One deconvolution: from stride 4 of the network's input, 1/8 of the canvas, to 1/4. Half the usual channels
        # keep its share of this small network's operations below a tenth.
        upsampler=dict(type='DeconvUpsampler', channels=32, factors=(2,), norm_cfg={{_base_.norm_cfg}}),
    ),
    sr_aux=dict(
        head=dict(
            type='SISRAuxHead',
            in_channels=(24, 320),
            in_index=(0, 3),
            upscale_factor=8,
            channels=32,
            norm_cfg={{_base_.norm_cfg}},
        ),
        fa=dict(type='FALoss', subsample=2),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
