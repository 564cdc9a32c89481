# What trains beside ESPNetv2, and vanishes at inference.
sr_norm_cfg = dict(type='SyncBN', requires_grad=True)
sr_aux = dict(
    # Strides 4 and 16 on the reduced image: 8 and 32 on the canvas.
    head=dict(type='SISRAuxHead', in_channels=(128, 512), in_index=(1, 3), upscale_factor=8, norm_cfg=sr_norm_cfg),
    # SSSR's features lie on 1/2 of the canvas: compared on the paper's 1/8.
    fa=dict(type='FALoss', subsample=4),
    norm_cfg=sr_norm_cfg,
)
