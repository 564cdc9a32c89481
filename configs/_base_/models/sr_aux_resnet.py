# What trains beside a ResNet with bottlenecks and output stride 8, and vanishes at inference. Shared by its configs.
sr_norm_cfg = dict(type='SyncBN', requires_grad=True)
sr_aux = dict(
    # Stage 1 has stride 4 on the reduced image, so 8 on the canvas.
    head=dict(
        type='SISRAuxHead',
        in_channels=(256, 2048),
        in_index=(0, 3),
        upscale_factor=8,
        loss_weight=0.1,
        norm_cfg=sr_norm_cfg,
    ),
    # SSSR's features lie on 1/4 of the canvas: compared on the paper's 1/8.
    fa=dict(type='FALoss', loss_weight=1.0, subsample=2),
    norm_cfg=sr_norm_cfg,
)
