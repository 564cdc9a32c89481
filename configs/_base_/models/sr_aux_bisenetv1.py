# What trains beside BiSeNet-R18, and vanishes at inference.
sr_norm_cfg = dict(type='SyncBN', requires_grad=True)
sr_aux = dict(
    # The fused features, BiSeNet's finest: stride 8 on the reduced image, 16 on the canvas.
    head=dict(type='SISRAuxHead', in_channels=256, in_index=0, upscale_factor=16, norm_cfg=sr_norm_cfg),
    # SSSR's features lie on 1/4 of the canvas, SISR's on 1/16, which bounds the comparison.
    fa=dict(type='FALoss', subsample=2),
    norm_cfg=sr_norm_cfg,
)
