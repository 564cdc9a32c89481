"""Segmentation decoder of ESPNetv2, as in the authors' code: https://github.com/sacmehta/EdgeNets."""

from collections.abc import Sequence
from math import ceil, gcd

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor

from .espnetv2 import conv_norm_act, norm_act

#: Scales of the pyramid, relative to the features.
SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
#: Minimum side of a grid in the pyramid, in pixels.
MIN_SIDE = 5


class EfficientPyramidPool(BaseModule):
    """Pyramid of depth-wise 3x3 convolutions at several scales, merged channel by channel.

    Args:
        in_channels (int): input channels, C_in.
        channels (int): channels of every scale and of the output, C.
        norm_cfg (dict): normalization.
        act_cfg (dict): activation.
        align_corners (bool): option of bilinear interpolation.
    """

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict, act_cfg: dict, align_corners: bool):
        super().__init__(dict(type='Kaiming', layer='Conv2d'))
        self.align_corners = align_corners
        self.project = conv_norm_act(in_channels, channels, 1, norm_cfg, act_cfg)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False) for _ in SCALES
        )
        self.norm_act = norm_act(channels * len(SCALES), norm_cfg, act_cfg)
        self.merge = conv_norm_act(channels * len(SCALES), channels, 3, norm_cfg, act_cfg, groups=channels)

    def _resize(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return resize(x, size, mode='bilinear', align_corners=self.align_corners, warning=False)

    def _at_scale(self, conv: nn.Module, x: Tensor, scale: float) -> Tensor:
        """Convolve (B, C, H, W) at another scale and return to H x W. Downscaling is by average pooling."""
        if scale == 1:
            return conv(x)
        size = [int(side) for side in x.shape[2:]]
        grid = [max(ceil(side * scale), MIN_SIDE) for side in size]
        if scale > 1:
            return F.adaptive_avg_pool2d(conv(self._resize(x, grid)), size)
        return self._resize(conv(F.adaptive_avg_pool2d(x, grid)), size)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C_in, H, W) to (B, C, H, W)."""
        x = self.project(x)
        scales = [self._at_scale(conv, x, scale) for conv, scale in zip(self.convs, SCALES)]
        # All scales of a channel are adjacent: they are one group of the merging convolution.
        return self.merge(self.norm_act(torch.stack(scales, dim=2).flatten(1, 2)))


class GatedConv(BaseModule):
    """Grouped 3x3 convolution whose channels are weighted by globally pooled features.

    Args:
        in_channels (int): input channels, C_in.
        out_channels (int): output channels, C_out. The number of groups is the greatest common divisor of both.
        norm_cfg (dict): normalization.
        act_cfg (dict): activation.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_cfg: dict, act_cfg: dict):
        super().__init__()
        self.gate = ConvModule(in_channels, out_channels, 1, bias=False, act_cfg=dict(type='Sigmoid'))
        groups = gcd(in_channels, out_channels)
        self.conv = conv_norm_act(in_channels, out_channels, 3, norm_cfg, act_cfg, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.gate(F.adaptive_avg_pool2d(x, 1))


class _Merge(BaseModule):
    """Decoder step that merges decoded features with the next finer level."""

    def __init__(
        self,
        in_channels: int,
        skip_channels: int,
        channels: int,
        out_channels: int,
        norm_cfg: dict,
        act_cfg: dict,
        align_corners: bool,
    ):
        super().__init__()
        self.align_corners = align_corners
        self.pool = EfficientPyramidPool(in_channels, channels, norm_cfg, act_cfg, align_corners)
        self.expand = conv_norm_act(channels, out_channels, 1, norm_cfg, act_cfg)
        self.skip = GatedConv(skip_channels, out_channels, norm_cfg, act_cfg)
        self.norm_act = norm_act(out_channels, norm_cfg, act_cfg)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        x = self.expand(self.pool(x))
        x = resize(x, finer.shape[2:], mode='bilinear', align_corners=self.align_corners, warning=False)
        return self.norm_act(x + self.skip(finer))


@MODELS.register_module(force=True)
class ESPNetv2Head(BaseDecodeHead):
    """ESPNetv2 decode head, which decodes from the coarsest level to the finest (stride 2).

    Every level applies efficient pyramid pooling, bilinear upsampling, and a sum with the gated convolution of the next
    finer level. A last pyramid pooling yields the C features that enter ``conv_seg``.

    With a backbone of width 2.0, C = 10 and 20 classes, an image of 512x1024 takes 2.698 G multiply-adds. The authors'
    2.699 G (https://github.com/sacmehta/EdgeNets, Cityscapes) also count the bias of ``conv_seg``. The DSRL paper's
    5.40 GFLOPs are twice that.

    Args:
        in_channels (Sequence[int]): channels of the levels, finest first.
        channels (int): channels of every pyramid pooling, C. The authors use min(num_classes // 2, 16).
        in_index (Sequence[int]): indices of the levels in the backbone's outputs. Defaults to (0, 1, 2, 3).
        decoder_channels (Sequence[int]): channels after each sum, coarsest first; one fewer than ``in_channels``.
            Defaults to (64, 48, 32), the authors' for Cityscapes and PASCAL VOC.
        norm_cfg (dict): normalization, see :class:`~dsrl_mm.seg.ESPNetv2`. Defaults to batch norm.
        act_cfg (dict): activation, see :class:`~dsrl_mm.seg.ESPNetv2`. Defaults to PReLU.
        kwargs: arguments of ``BaseDecodeHead``. The authors train without dropout and with ``align_corners=True``.

    Raises:
        ValueError: if ``decoder_channels`` and ``in_channels`` do not match.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        in_index: Sequence[int] = (0, 1, 2, 3),
        decoder_channels: Sequence[int] = (64, 48, 32),
        norm_cfg: dict = dict(type='BN'),
        act_cfg: dict = dict(type='PReLU'),
        **kwargs,
    ):
        if len(decoder_channels) != len(in_channels) - 1:
            raise ValueError(
                f'ESPNetv2Head: decoder_channels must have one number per level but the coarsest, '
                f'{len(in_channels) - 1}, got {tuple(decoder_channels)}'
            )
        super().__init__(
            list(in_channels),
            channels,
            in_index=list(in_index),
            input_transform='multiple_select',
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            **kwargs,
        )
        *finer, coarsest = in_channels
        decoded = [coarsest, *decoder_channels]
        shared = dict(norm_cfg=norm_cfg, act_cfg=act_cfg, align_corners=self.align_corners)
        self.merges = nn.ModuleList(
            _Merge(before, skip, channels, after, **shared)
            for before, skip, after in zip(decoded, reversed(finer), decoder_channels)
        )
        self.pool = EfficientPyramidPool(decoded[-1], channels, **shared)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Compute logits (B, K, h, w) on the finest level's grid from the backbone's outputs."""
        *finer, x = self._transform_inputs(inputs)
        for merge, level in zip(self.merges, reversed(finer)):
            x = merge(x, level)
        return self.cls_seg(self.pool(x))
