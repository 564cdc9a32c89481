# DABNet with DSRL.
_base_ = ['./dabnet.py', './sr_aux_dabnet.py']
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # Two deconvolutions: from stride 8 of the reduced image, 1/16 of the canvas, to 1/4. Of half
        # the usual width, so that they add less than a tenth to a network this small.
        upsampler=dict(type='DeconvUpsampler', channels=32, factors=(2, 2), norm_cfg={{_base_.sr_norm_cfg}}),
    ),
    sr_aux={{_base_.sr_aux}},
)
