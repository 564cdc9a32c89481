# PSPNet-R18 with DSRL on CamVid: the network reads 180x240 and predicts on 360x480.
_base_ = './pspnet_r18_camvid_baseline.py'
norm_cfg = {{_base_.norm_cfg}}
model = dict(
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # Two deconvolutions: from stride 8 of the reduced image, 1/16 of the canvas, to 1/4.
        upsampler=dict(type='DeconvUpsampler', factors=(2, 2), norm_cfg=norm_cfg),
    ),
    sr_aux=dict(
        # Stage 1 has stride 4 on the reduced image, so 8 on the canvas.
        head=dict(
            type='SISRAuxHead',
            in_channels=(64, 512),
            in_index=(0, 3),
            upscale_factor=8,
            loss_weight=0.1,
            norm_cfg=norm_cfg,
        ),
        # The enlarged features lie on 1/4 of the canvas: compared on the paper's 1/8.
        fa=dict(type='FALoss', loss_weight=1.0, subsample=2),
        norm_cfg=norm_cfg,
    ),
)
