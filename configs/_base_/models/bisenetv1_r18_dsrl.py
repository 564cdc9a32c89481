# BiSeNet-R18 with DSRL. Options: pspnet_r101_dsrl.py.
_base_ = './bisenetv1_r18.py'
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # Two deconvolutions: from stride 8 of the network's input, 1/16 of the canvas, to 1/4.
        upsampler=dict(type='DeconvUpsampler', factors=(2, 2), norm_cfg={{_base_.norm_cfg}}),
    ),
    sr_aux=dict(
        # The fused features, BiSeNet's finest: stride 8 on the network's input, 16 on the canvas.
        head=dict(type='SISRAuxHead', in_channels=256, in_index=0, upscale_factor=16, norm_cfg={{_base_.norm_cfg}}),
        # SSSR's features lie on 1/4 of the canvas, SISR's on 1/16, which bounds the comparison.
        fa=dict(type='FALoss', subsample=2),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
