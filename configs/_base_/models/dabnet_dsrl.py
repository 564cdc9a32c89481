# DABNet with DSRL. Options: pspnet_r101_dsrl.py.
_base_ = './dabnet.py'
sr_norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # Two deconvolutions: from stride 8 of the network's input, 1/16 of the canvas, to 1/4. Half the usual channels
        # add less than a tenth to a network this small.
        upsampler=dict(type='DeconvUpsampler', channels=32, factors=(2, 2), norm_cfg=sr_norm_cfg),
    ),
    sr_aux=dict(
        # Strides 4 and 8 on the network's input: 8 and 16 on the canvas.
        head=dict(type='SISRAuxHead', in_channels=(131, 259), in_index=(1, 2), upscale_factor=8, norm_cfg=sr_norm_cfg),
        # SSSR's features lie on 1/4 of the canvas: compared on the paper's 1/8.
        fa=dict(type='FALoss', subsample=2),
        norm_cfg=sr_norm_cfg,
    ),
)
