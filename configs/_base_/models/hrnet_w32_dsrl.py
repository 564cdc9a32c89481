# HRNet-w32 with DSRL.
_base_ = './hrnet_w32.py'
model = dict(
    head=dict(
        type='SSSRHeatmapHead',
        # One deconvolution: from stride 4 of the reduced crop, 1/8 of the canvas, to 1/4: twice the usual heatmap. As
        # wide as the features it reads.
        upsampler=dict(type='DeconvUpsampler', channels=32),
        # The mean over mostly empty cells is about 0.002. The paper's w1 and w2 are for a cross entropy of 1 to 3.
        # Without this weight, SISR and FA would dominate the training of the backbone. Adam is invariant to the scale.
        loss=dict(loss_weight=1000),
    ),
    sr_aux=dict(
        # HRNet's one output has stride 4 on the reduced crop, so 8 on the canvas.
        head=dict(type='SISRAuxHead', in_channels=32, upscale_factor=8, loss_weight=0.1),
        # SSSR's features lie on 1/4 of the canvas: compared on the paper's 1/8.
        fa=dict(type='FALoss', loss_weight=1.0, subsample=2),
    ),
)
