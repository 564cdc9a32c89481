"""Upsampling stacks: what turns low-resolution features into a larger mask, heatmap or image.

Shapes used throughout: B batch, C_in channels of the features that enter, C = ``channels`` of the hidden features,
K = ``out_channels`` of what is predicted, H x W the grid of the features that enter, r the enlargement.

Both stacks return the last features *before* the prediction layer beside the prediction: these features are what the
feature affinity loss compares (the authors' answer in their tracker; the paper does not say).
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

__all__ = ['DeconvUpsampler', 'SubPixelUpsampler']


class _Upsampler(BaseModule):
    """``body`` makes the hidden features, ``predict`` the output from them."""

    body: nn.Module
    predict: nn.Module

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Enlarge features of shape (B, C_in, H, W).

        Returns:
            tuple[Tensor, Tensor]: the hidden features, (B, C, H', W'), and the prediction, (B, K, r H, r W).
        """
        feat = self.body(x)
        return feat, self.predict(feat)

    def init_prediction_to_zero(self) -> None:
        """Make the prediction 0 for every input until it is trained: the start of a learned residual."""
        for module in self.predict.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
                nn.init.zeros_(module.bias)


def _enlargement(name: str, factors: Sequence[int]) -> int:
    if not factors or any(factor < 2 for factor in factors):
        raise ValueError(f'{name}: factors must be numbers of at least 2, one or more, got {tuple(factors)}')
    return prod(factors)


def _deconv(in_channels: int, out_channels: int, factor: int, norm_cfg: dict) -> nn.Sequential:
    """A transposed convolution of stride ``factor``, batch norm and ReLU.

    Its kernel is two strides wide, so every output pixel sees the same number of inputs, 2x2, and no checkerboard of
    uneven sums has to be unlearned. An odd factor is then half an output pixel off centre.
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


@MODELS.register_module()
class DeconvUpsampler(_Upsampler):
    """The paper's stack (Sec. 3.1): transposed convolutions, each followed by batch norm and ReLU.

    A 1x1 convolution first squeezes the features to ``channels``, which keeps the stack's cost to a few percent of a
    network's; the prediction layer is a 1x1 convolution on the enlarged features, which are the hidden features:
    (B, C, r H, r W).

    With ``skip_channels`` it also reads an early feature map of the backbone, which still has the edges that no
    enlarging can bring back: squeezed by a 1x1 convolution and added to the last transposed convolution's output, on
    the early map's own grid, as U-Net and DeepLabV3+ do. The paper's stack has none.

    Args:
        in_channels (int): C_in.
        out_channels (int): K.
        channels (int): C. Defaults to 64.
        factors (Sequence[int]): one enlargement per transposed convolution; r is their product. Defaults to (2,).
        skip_channels (int, optional): of the early feature map. Defaults to None: none is read.
        norm_cfg (dict): normalisation of every layer. Defaults to batch norm.

    Raises:
        ValueError: for no factors, a factor below 2, which enlarges nothing, and an early feature map on another grid.
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
        super().__init__()
        self.channels, self.factor = channels, _enlargement('DeconvUpsampler', factors)
        self.body = nn.Sequential(
            ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg),
            *(_deconv(channels, channels, factor, norm_cfg) for factor in factors),
        )
        self.skip = None if skip_channels is None else nn.Conv2d(skip_channels, channels, 1, bias=False)
        self.predict = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, early: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Enlarge features (B, C_in, H, W), with an early feature map (B, skip_channels, h, w) where one is read.

        Returns:
            tuple[Tensor, Tensor]: the hidden features, (B, C, r H, r W), or (B, C, h, w) with a skip, and the
            prediction on the same grid.
        """
        if self.skip is None:
            return super().forward(x)
        *before, (deconv, norm, act) = self.body
        for layer in before:
            x = layer(x)
        x, early = deconv(x), self.skip(early)
        if x.shape[-2:] != early.shape[-2:]:
            self._check_rounding(x, early)
            x = F.interpolate(x, early.shape[-2:], mode='bilinear')
        feat = act(norm(x + early))
        return feat, self.predict(feat)

    def _check_rounding(self, x: Tensor, early: Tensor) -> None:
        """Refuse grids that differ by more than strides that round odd sides up make them."""
        if any(abs(a - b) >= self.factor for a, b in zip(x.shape[-2:], early.shape[-2:])):
            raise ValueError(
                f'DeconvUpsampler: factors enlarge the features to {tuple(x.shape[-2:])}, but the early feature map is '
                f'{tuple(early.shape[-2:])}. Choose a map whose stride is {self.factor} times finer than that of the '
                'features (skip.in_index), or other factors.'
            )


def _start_without_checkerboard(conv: nn.Conv2d, factor: int) -> None:
    """Let all pixels of a sub-pixel block start with the same weights (ICNR, https://arxiv.org/abs/1707.02937)."""
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(parameter[:: factor**2].repeat_interleave(factor**2, dim=0))


@MODELS.register_module()
class SubPixelUpsampler(_Upsampler):
    """The sub-pixel stack of Shi et al. (CVPR 2016): cheaper, all work at low resolution.

    https://arxiv.org/abs/1609.05158

    The prediction layer is a 3x3 convolution to K r^2 channels, rearranged to K channels on an r times larger grid.
    The hidden features stay on the grid that entered: (B, C, H, W).

    Args:
        in_channels (int): C_in.
        out_channels (int): K.
        channels (int): C. Defaults to 64.
        factors (Sequence[int]): r is their product, in one step. Defaults to (2,).
        kernel_size (int): of the convolution that makes the hidden features, odd. Defaults to 1.
        norm_cfg (dict): normalisation of the hidden layer. Defaults to batch norm.

    Raises:
        ValueError: for no factors, and a factor below 2, which enlarges nothing.
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
        super().__init__()
        self.channels, self.factor = channels, _enlargement('SubPixelUpsampler', factors)
        self.body = ConvModule(in_channels, channels, kernel_size, padding=kernel_size // 2, norm_cfg=norm_cfg)
        conv = nn.Conv2d(channels, out_channels * self.factor**2, 3, padding=1)
        _start_without_checkerboard(conv, self.factor)
        self.predict = nn.Sequential(conv, nn.PixelShuffle(self.factor))
