# BiSeNet-R18 with DSRL.
_base_ = ['./bisenetv1_r18.py', './sr_aux_bisenetv1.py']
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # Two deconvolutions: from stride 8 of the reduced image, 1/16 of the canvas, to 1/4.
        upsampler=dict(type='DeconvUpsampler', factors=(2, 2), norm_cfg={{_base_.sr_norm_cfg}}),
    ),
    sr_aux={{_base_.sr_aux}},
)
