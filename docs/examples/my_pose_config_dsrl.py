_base_ = './my_pose_config.py'
custom_imports = dict(imports=['dsrl_mm.pose'], allow_failed_imports=False)
# The crop is twice the input size on each side; a heatmap cell is 4 of its pixels. sigma scales with the heatmap.
# DARK and UDP also need blur_kernel_size=25.
codec = dict(_base_.codec, input_size=(384, 512), heatmap_size=(96, 128), sigma=4)
for pipeline in (_base_.train_pipeline, _base_.val_pipeline):
    for step in pipeline:
        if step.type == 'TopdownAffine':
            step.input_size = codec['input_size']
        if step.type == 'GenerateTarget':
            step.encoder = codec
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.val_pipeline))
test_dataloader = val_dataloader
model = dict(
    type='DSRLTopdown',
    scale_factor=2,
    head=dict(type='SSSRHeatmapHead', decoder=codec, loss=dict(loss_weight=1000)),
    sr_aux=dict(
        # in_index: outputs of the backbone; upscale_factor: stride of the finest of them, times scale_factor.
        head=dict(type='SISRAuxHead', in_channels=32, in_index=-1, upscale_factor=8),
        fa=dict(type='FALoss', subsample=2),
    ),
)
