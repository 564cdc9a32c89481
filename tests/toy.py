"""Tiny segmentors and batches: everything as in a real config, with so few channels that a step takes milliseconds.

The canvas is 48x64 by default, so a network with ``scale_factor=2`` reads 24x32, and its features are 3x4.
"""

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import dsrl_mm.seg  # noqa: F401  (registers)

SIZE = (48, 64)
NUM_CLASSES = 5
MEAN, STD = [120.0, 110.0, 100.0], [60.0, 50.0, 40.0]
#: Channels of the backbone's four stages, at 1/4, 1/8, 1/8 and 1/8 of the network's input.
CHANNELS = (8, 16, 32, 64)

_ALL = dict(in_channels=CHANNELS, in_index=(0, 1, 2, 3))
_LAST = dict(in_channels=CHANNELS[-1], in_index=3)
#: What each kind of decode head needs besides :func:`head_cfg`'s own arguments.
HEADS = dict(
    PSPHead=dict(**_LAST, pool_scales=(1, 2, 3)),
    FCNHead=dict(**_LAST, num_convs=1),
    DepthwiseSeparableASPPHead=dict(**_LAST, dilations=(1, 2), c1_in_channels=CHANNELS[0], c1_channels=4),
    UPerHead=dict(**_ALL, pool_scales=(1, 2)),
    SegformerHead=dict(**_ALL),
    LightHamHead=dict(**_ALL, ham_channels=16, ham_kwargs=dict(MD_S=1, MD_R=4, train_steps=2, eval_steps=2)),
)


def head_cfg(kind: str = 'PSPHead', norm_cfg: dict = dict(type='BN'), **overrides) -> dict:
    """A stock decode head of 16 channels, without dropout."""
    shared = dict(type=kind, channels=16, dropout_ratio=0, num_classes=NUM_CLASSES, norm_cfg=norm_cfg)
    return shared | HEADS.get(kind, _LAST) | overrides


def sr_aux_cfg(scale_factor: int = 2, norm_cfg: dict = dict(type='BN'), **overrides) -> dict:
    """The SISR head on the first and the last stage, and FA on 1/8 of the canvas at most."""
    head = dict(
        type='SISRAuxHead',
        in_channels=(CHANNELS[0], CHANNELS[-1]),
        in_index=(0, 3),
        upscale_factor=4 * scale_factor,
        channels=12,
        norm_cfg=norm_cfg,
    )
    return dict(head=head, fa=dict(type='FALoss', subsample=2), norm_cfg=norm_cfg) | overrides


def model_cfg(
    dsrl: bool = True,
    head: str | dict = 'PSPHead',
    scale_factor: int = 2,
    norm_cfg: dict = dict(type='BN'),
    **overrides,
) -> dict:
    """A DSRL segmentor of 0.2 M parameters, or its baseline twin.

    Args:
        dsrl: whether the head is wrapped and there is ``sr_aux``.
        head: one of :data:`HEADS`, or the config of a stock head.
        scale_factor: canvas over network input.
        norm_cfg: of every layer.
        **overrides: keys of the segmentor to replace, e.g. ``sr_aux=None``.
    """
    if isinstance(head, str):
        head = head_cfg(head, norm_cfg)
    cfg = dict(
        type='DSRLSegmentor',
        scale_factor=scale_factor,
        data_preprocessor=preprocessor_cfg(),
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            stem_channels=8,
            base_channels=CHANNELS[0],
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            norm_cfg=norm_cfg,
        ),
        decode_head=head,
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
    if dsrl:
        upsampler = dict(type='DeconvUpsampler', channels=8, factors=(2,), norm_cfg=norm_cfg)
        cfg['decode_head'] = dict(type='SSSRHead', decode_head=head, upsampler=upsampler)
        cfg['sr_aux'] = sr_aux_cfg(scale_factor, norm_cfg)
    return cfg | overrides


def preprocessor_cfg(**overrides) -> dict:
    """Pads to :data:`SIZE` in training, so that larger batches stay as they are, and not at all in testing."""
    cfg = dict(type='SegDataPreProcessor', mean=MEAN, std=STD, bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size=SIZE)
    return cfg | overrides


def auxiliary_head_cfg(**overrides) -> dict:
    """The usual FCN head on the last but one stage."""
    return head_cfg('FCNHead', in_channels=CHANNELS[2], in_index=2, channels=8, **overrides)


def build(cfg: dict, seed: int = 0) -> nn.Module:
    """The model of a config, with weights that depend on ``seed`` alone."""
    torch.manual_seed(seed)
    return MODELS.build(ConfigDict(cfg))


def spread_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """Move every parameter and running statistic a little, as training would: none stays at exactly 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            noise = 2 * torch.rand(tensor.shape, generator=generator) - 1
            tensor.mul_(1 + 0.3 * noise).add_(0.05 * noise)
    return model


def batch(size: tuple[int, int] = SIZE, n: int = 2, classes: int = NUM_CLASSES, seed: int = 0) -> dict:
    """What a data loader gives: ``inputs``, n uint8 BGR images (3, H, W), and ``data_samples`` with labels and metas.

    Labels are 8x8 squares of random classes, with a void stripe (255) at the left border.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    images, samples = [], []
    for i in range(n):
        images.append(torch.randint(256, (3, height, width), generator=generator, dtype=torch.uint8))
        squares = torch.randint(classes, (1, -(-height // 8), -(-width // 8)), generator=generator)
        label = squares.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, :height, :width].clone()
        label[..., :2] = 255
        metas = dict(ori_shape=size, img_shape=size, scale_factor=(1.0, 1.0), flip=False, img_path=f'{i}.png')
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=label), metainfo=metas))
    return dict(inputs=images, data_samples=samples)


def losses(model: nn.Module, data: dict) -> dict[str, torch.Tensor]:
    """What a training step computes, by its name in the log."""
    return model(**model.data_preprocessor(data, True), mode='loss')


def enlarged(baseline: nn.Module, inputs: Tensor, factor: int = 2) -> Tensor:
    """A baseline's logits brought to a ``factor`` times finer grid, an SSSR stack's, and from there to the canvas."""
    head = baseline.decode_head
    logits = head(baseline.extract_feat(baseline._network_input(inputs)))
    canvas = [side + side % 2 for side in inputs.shape[-2:]]
    for size in ([side * factor for side in logits.shape[-2:]], canvas):
        logits = F.interpolate(logits, size, mode='bilinear', align_corners=head.align_corners)
    return logits[..., : inputs.shape[-2], : inputs.shape[-1]]
