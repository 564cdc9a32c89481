# ESPNetv2 with DSRL.
_base_ = ['./espnetv2.py', './sr_aux_espnetv2.py']
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # ESPNetv2 predicts on stride 2 of the reduced image, from 10 channels: one deconvolution, to 1/2 of the canvas,
        # as narrow as the features it reads.
        upsampler=dict(type='DeconvUpsampler', channels=8, factors=(2,), norm_cfg={{_base_.sr_norm_cfg}}),
    ),
    sr_aux={{_base_.sr_aux}},
)
