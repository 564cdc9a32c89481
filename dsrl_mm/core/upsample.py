"""Upsampling stacks, which predict a larger mask, heatmap or image from low-resolution features.

Shapes: B batch, C_in input channels, C hidden channels (``channels``), K predicted channels (``out_channels``), H x W
the input grid, r the upsampling factor.

Both stacks return their prediction and the last features *before* the prediction layer, which the feature affinity loss
compares (the authors' answer in their issue tracker; the paper does not say).
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor


class _Upsampler(BaseModule):
    """Base of both stacks: ``body`` computes the hidden features, ``predict`` the output; ``factor`` is r."""

    body: nn.Module
    predict: nn.Module

    def __init__(self, channels: int, out_channels: int, factors: Sequence[int]):
        super().__init__()
        if not factors or any(factor < 2 for factor in factors):
            raise ValueError(
                f'{type(self).__name__}: factors must be numbers of at least 2, one or more, got {tuple(factors)}'
            )
        self.channels, self.out_channels, self.factor = channels, out_channels, prod(factors)
        self._starts_at_zero = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Enlarge features of shape (B, C_in, H, W).

        Returns:
            tuple[Tensor, Tensor]: the hidden features, (B, C, H', W'), and the prediction, (B, K, r H, r W).
        """
        feat = self.body(x)
        return feat, self.predict(feat)

    def init_weights(self) -> None:
        super().init_weights()
        if self._starts_at_zero:
            self.start_at_zero()

    def start_at_zero(self) -> None:
        """Set the prediction layer to zero, now and after ``init_weights``, so that a learned residual starts at 0."""
        self._starts_at_zero = True
        for module in self.predict.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)


def _deconv(in_channels: int, out_channels: int, factor: int, norm_cfg: dict) -> nn.Sequential:
    """Build a transposed convolution of stride ``factor`` with batch norm and ReLU.

    The kernel is two strides wide, so every output pixel depends on 2x2 inputs and there is no checkerboard pattern.
    With an odd factor, the output is shifted by half a pixel.
    """
    deconv = nn.ConvTranspose2d(
        in_channels,
        out_channels,
        kernel_size=2 * factor,
        stride=factor,
        padding=(factor + 1) // 2,
        output_padding=factor % 2,
        bias=False,
    )
    return nn.Sequential(deconv, build_norm_layer(norm_cfg, out_channels)[1], nn.ReLU(inplace=True))


@MODELS.register_module(force=True)
class DeconvUpsampler(_Upsampler):
    """Upsampling stack of the paper (Sec. 3.1): transposed convolutions, each followed by batch norm and ReLU.

    A 1x1 convolution first reduces the features to ``channels``, which limits the cost to a few percent of a network's.
    The prediction layer is a 1x1 convolution on the hidden features (B, C, r H, r W).

    With ``skip_channels``, the stack also reads an early feature map, which contains exact edges: a 1x1 convolution of
    it is added to the output of the transposed convolution on its grid, as in U-Net and DeepLabV3+. Not in the paper.

    Args:
        in_channels (int): input channels, C_in.
        out_channels (int): predicted channels, K.
        channels (int): hidden channels, C. Defaults to 64.
        factors (Sequence[int]): factor of each transposed convolution; r is their product. Defaults to (2,).
        skip_channels (int, optional): channels of the early feature map. SSSRHead sets it from its option ``skip``.
            Defaults to None: no early feature map.
        norm_cfg (dict): normalization of every layer. Defaults to batch norm.

    Raises:
        ValueError: if there are no factors, one is below 2, or the early feature map is on none of the grids.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int = 64,
        factors: Sequence[int] = (2,),
        skip_channels: int | None = None,
        norm_cfg: dict = dict(type='BN'),
    ):
        super().__init__(channels, out_channels, factors)
        self.body = nn.Sequential(
            ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg),
            *(_deconv(channels, channels, factor, norm_cfg) for factor in factors),
        )
        self.skip = None if skip_channels is None else nn.Conv2d(skip_channels, channels, 1, bias=False)
        self.predict = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, early: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Enlarge features (B, C_in, H, W), with an early feature map (B, skip_channels, h, w) if there is one.

        Returns:
            tuple[Tensor, Tensor]: the hidden features, (B, C, r H, r W), and the prediction on the same grid. Where h
            and w are no multiples of H and W, because strides round odd sides up, the grid follows h and w.
        """
        if self.skip is None:
            return super().forward(x)
        squeeze, *stages = self.body
        x, grid, factor = squeeze(x), early.shape[-2:], 1
        for deconv, norm, act in stages:
            x, factor = deconv(x), factor * deconv.stride[0]
            # Strides that round odd sides up make the same grid up to ``factor`` cells larger.
            if early is not None and all(abs(a - b) < factor for a, b in zip(x.shape[-2:], grid)):
                if x.shape[-2:] != grid or not all(isinstance(side, int) for side in grid):  # left open in exports
                    x = F.interpolate(x, grid, mode='bilinear')
                x, early = x + self.skip(early), None
            x = act(norm(x))
        if early is not None:
            raise ValueError(
                f'DeconvUpsampler: factors enlarge the features to {tuple(x.shape[-2:])}, but the early feature map is '
                f'{tuple(grid)}. Choose a map on the grid of one of the transposed convolutions (skip.in_index), or '
                'other factors.'
            )
        return x, self.predict(x)


def _start_without_checkerboard(conv: nn.Conv2d, factor: int) -> None:
    """Initialize all pixels of a sub-pixel block with the same weights (ICNR, https://arxiv.org/abs/1707.02937)."""
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(parameter[:: factor**2].repeat_interleave(factor**2, dim=0))


@MODELS.register_module(force=True)
class SubPixelUpsampler(_Upsampler):
    """Sub-pixel upsampling stack (Shi et al., CVPR 2016), cheaper because it works at low resolution.

    https://arxiv.org/abs/1609.05158

    The prediction layer is a 3x3 convolution to K r^2 channels, rearranged to K channels on an r times larger grid.
    The hidden features have the input grid: (B, C, H, W).

    Args:
        in_channels (int): input channels, C_in.
        out_channels (int): predicted channels, K.
        channels (int): hidden channels, C. Defaults to 64.
        factors (Sequence[int]): r is their product, in one step. Defaults to (2,).
        kernel_size (int): kernel size of the hidden layer, odd. Defaults to 1.
        norm_cfg (dict): normalization of the hidden layer. Defaults to batch norm.

    Raises:
        ValueError: if there are no factors, or one is below 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int = 64,
        factors: Sequence[int] = (2,),
        kernel_size: int = 1,
        norm_cfg: dict = dict(type='BN'),
    ):
        super().__init__(channels, out_channels, factors)
        self.body = ConvModule(in_channels, channels, kernel_size, padding=kernel_size // 2, norm_cfg=norm_cfg)
        conv = nn.Conv2d(channels, out_channels * self.factor**2, 3, padding=1)
        _start_without_checkerboard(conv, self.factor)
        self.predict = nn.Sequential(conv, nn.PixelShuffle(self.factor))
