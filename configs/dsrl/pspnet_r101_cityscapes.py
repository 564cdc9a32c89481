# PSPNet-R101 with DSRL: Table 3 of the paper, "with". The network reads 512x1024 and predicts on 1024x2048.
_base_ = './pspnet_r101_cityscapes_baseline.py'
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
            in_channels=(256, 2048),
            in_index=(0, 3),
            upscale_factor=8,
            loss_weight=0.1,
            norm_cfg=norm_cfg,
        ),
        fa=dict(type='FALoss', loss_weight=1.0, subsample=4),
        norm_cfg=norm_cfg,
    ),
)
