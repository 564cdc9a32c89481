# The narrow HRNet with DSRL.
_base_ = './hrnet_narrow.py'
model = dict(
    head=dict(
        type='SSSRHeatmapHead',
        upsampler=dict(type='DeconvUpsampler', channels=8),
        loss=dict(loss_weight=1000),  # see hrnet_w32_dsrl.py
    ),
    sr_aux=dict(
        head=dict(type='SISRAuxHead', in_channels=8, upscale_factor=8, channels=16, loss_weight=0.1),
        fa=dict(type='FALoss', loss_weight=1.0, subsample=2),
    ),
)
