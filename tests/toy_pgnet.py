"""A PGNet of 0.2 M parameters; its transformer reads 32x32."""

import torch
from torch import nn
from toy import MEAN, STD, build

import dsrl_mm.uhr  # noqa: F401  (registers)

CNN = dict(type='ResNet', depth=10, stem_channels=8, base_channels=8)
TRANSFORMER = dict(
    type='SwinTransformer', embed_dims=8, depths=(1, 1, 2), num_heads=(1, 2, 4), window_size=4, drop_path_rate=0.0
)
BACKBONE = dict(type='PGBackbone', cnn=CNN, transformer=TRANSFORMER, transformer_size=32)


def pgnet_cfg(**overrides) -> dict:
    cfg = dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='MultiScalePreProcessor', sizes=[(48, 64)], mean=MEAN, std=STD, bgr_to_rgb=True, seg_pad_val=255
        ),
        backbone=BACKBONE,
        neck=dict(type='GraftingNeck', in_channels=(64, 16), channels=16, num_heads=4),
        decode_head=dict(type='PGHead', in_channels=(8, 16, 32, 8, 32, 32, 16), channels=16),
        auxiliary_head=dict(type='AttentionGuideHead', in_channels=(16, 16, 4)),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    return cfg | overrides


def pgnet(**overrides) -> nn.Module:
    model = build(pgnet_cfg(**overrides))
    torch.manual_seed(0)
    model.init_weights()
    return model
