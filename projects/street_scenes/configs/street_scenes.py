# The demo's DSRL: the network reads 96x192 and predicts on 192x384. All of it in one place, to read and to try.
_base_ = './street_scenes_baseline.py'
norm_cfg = {{_base_.norm_cfg}}
model = dict(
    low_res_labels=False,
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        # From stride 4 of the reduced image, 1/8 of the canvas, to 1/4.
        upsampler=dict(type='DeconvUpsampler', factors=(2,), norm_cfg=norm_cfg),
    ),
    sr_aux=dict(
        # Stage 1 has stride 4 on the reduced image, so 8 on the canvas.
        head=dict(type='SISRAuxHead', in_channels=(32, 256), in_index=(0, 3), upscale_factor=8, norm_cfg=norm_cfg),
        fa=dict(type='FALoss', subsample=2),
        norm_cfg=norm_cfg,
    ),
)
