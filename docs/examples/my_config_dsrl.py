_base_ = './my_config.py'
custom_imports = dict(imports=['dsrl_mm.seg'], allow_failed_imports=False)
model = dict(
    type='DSRLSegmentor',
    scale_factor=2,  # canvas size over input size, on each side
    decode_head=dict(
        _delete_=True,
        type='SSSRHead',
        # "Early": SSSR also reads stage 0 of the backbone. The wrapped head's in_index counts the other stages.
        skip=dict(in_index=0, in_channels=256),
        decode_head=dict(_base_.model.decode_head, in_index=2),
        # From the head's stride on the canvas (8 times scale_factor) to 4. A network of stride 4 needs factors=(2,).
        upsampler=dict(type='DeconvUpsampler', factors=(2, 2), norm_cfg=_base_.norm_cfg),
    ),
    sr_aux=dict(  # training only
        # upscale_factor: stride of the finest stage in in_index, times scale_factor.
        head=dict(
            type='SISRAuxHead',
            in_channels=(256, 2048),
            in_index=(0, 3),
            upscale_factor=8,
            norm_cfg=_base_.norm_cfg,
        ),
        norm_cfg=_base_.norm_cfg,
    ),
)
# Stop at bad labels and NaN losses; survive being killed.
custom_hooks = [dict(type='LabelCheckHook'), dict(type='NonFiniteLossHook')]
default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook'))
