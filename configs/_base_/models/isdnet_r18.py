# ISDNet (Guo et al., CVPR 2022) with ResNet-18 and ASPP, in the form of the authors' code, which their numbers are of.
# The paper's: deep_input='pyramid', sr_aux.sr.target='image', sr_aux.structure.per_channel=False.
# Ablations by options, see docs/user_guides/isdnet.md.
_base_ = './deeplabv3_r18.py'
model = dict(
    type='ISDSegmentor',
    scale_factor=4,
    deep_input='nearest',
    shallow=dict(
        type='STDCShallow',
        norm_cfg={{_base_.norm_cfg}},
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/stdc/stdc1_20220308-5368626c.pth',
        ),
    ),
    decode_head=dict(
        _delete_=True,
        type='ISDHead',
        decode_head={{_base_.model.decode_head}},
        fusion=dict(type='RelationAwareFusion', channels=128, groups=16),
        channels=64,
    ),
    sr_aux=dict(
        sr=dict(type='ISDSRDecoder', factors=(4, 2, 2), target='frequencies'),
        structure=dict(type='StructureDistillationLoss', per_channel=True),
    ),
)
