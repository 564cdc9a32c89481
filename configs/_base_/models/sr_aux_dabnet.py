# What trains beside DABNet, and vanishes at inference.
sr_norm_cfg = dict(type='SyncBN', requires_grad=True)
sr_aux = dict(
    # Strides 4 and 8 on the reduced image: 8 and 16 on the canvas.
    head=dict(type='SISRAuxHead', in_channels=(131, 259), in_index=(1, 2), upscale_factor=8, norm_cfg=sr_norm_cfg),
    # SSSR's features lie on 1/4 of the canvas: compared on the paper's 1/8.
    fa=dict(type='FALoss', subsample=2),
    norm_cfg=sr_norm_cfg,
)
