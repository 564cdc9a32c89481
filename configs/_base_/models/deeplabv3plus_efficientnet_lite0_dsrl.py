# DeepLabV3+ with EfficientNet-Lite0 and DSRL.
_base_ = ['./deeplabv3plus_efficientnet_lite0.py', './sr_aux_efficientnet_lite0.py']
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # One deconvolution: from stride 4 of the reduced image, 1/8 of the canvas, to 1/4. Half the usual channels keep
        # its share of this small network's operations below a tenth.
        upsampler=dict(type='DeconvUpsampler', channels=32, norm_cfg={{_base_.sr_norm_cfg}}),
    ),
    sr_aux={{_base_.sr_aux}},
)
