"""Tiny ISDNets: everything as in a real config, with so few channels that a step takes milliseconds."""

from toy import head_cfg, model_cfg

import dsrl_mm.uhr  # noqa: F401  (registers)

GN = dict(type='GN', num_groups=1)


def isd_cfg(head: str | dict = 'FCNHead', scale_factor: int = 2, norm_cfg: dict = dict(type='BN'), **overrides) -> dict:
    """An ISDSegmentor around a toy's backbone and head, with all training-only parts.

    Args:
        head: one of :data:`toy.HEADS`, or the config of a stock head.
        scale_factor: canvas over the input of the deep network.
        norm_cfg: of every layer.
        **overrides: keys of the segmentor to replace, e.g. ``sr_aux=None``.
    """
    if isinstance(head, str):
        head = head_cfg(head, norm_cfg)
    cfg = model_cfg(dsrl=False, head=head, scale_factor=scale_factor, norm_cfg=norm_cfg)
    cfg |= dict(
        type='ISDSegmentor',
        shallow=dict(type='STDCShallow', base_channels=4, norm_cfg=norm_cfg),
        decode_head=dict(
            type='ISDHead',
            decode_head=head,
            fusion=dict(type='RelationAwareFusion', channels=8, groups=4),
            channels=6,
            dropout_ratio=0,
        ),
        sr_aux=sr_aux_cfg(),
    )
    return cfg | overrides


def sr_aux_cfg(**overrides) -> dict:
    """The super-resolution branch on features of 1/16 of the canvas, and structure distillation."""
    sr = dict(type='ISDSRDecoder', channels=4, factors=(2, 2))
    return dict(sr=sr, structure=dict(type='StructureDistillationLoss')) | overrides
