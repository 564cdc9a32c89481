# The demo's DSRL, all of it in one place: the network's input is 96x192, its prediction 192x384.
_base_ = './dabnet_street_scenes_baseline.py'
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    low_res_labels=False,
    # SSSR: the baseline's logits, enlarged, plus a residual from an upsampling stack. It also reads the finest feature
    # map, at stride 2 of the input.
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        decode_head={{_base_.model.decode_head}},
        upsampler=dict(type='DeconvUpsampler', channels=24, factors=(2, 2), norm_cfg=norm_cfg),
        skip=dict(in_index=0, in_channels=35),
    ),
    # SISR, in training only: rebuilds the image from the features at strides 2 and 8, starting from the input enlarged
    # bilinearly. The residual's mean square is a fiftieth of the image's, so it weighs more than the paper's 0.1.
    sr_aux=dict(
        head=dict(
            type='SISRAuxHead',
            in_channels=(35, 259),
            in_index=(0, 2),
            upscale_factor=4,  # from stride 2 of the input, 4 of the canvas
            residual=True,
            loss_weight=1.0,
            norm_cfg=norm_cfg,
        ),
        norm_cfg=norm_cfg,
    ),
)
