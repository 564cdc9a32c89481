"""Blocks of PGNet's decoder."""

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn


def conv_norm_act(
    in_channels: int, out_channels: int, norm_cfg: dict, kernel_size: int = 3, dilation: int = 1
) -> nn.Sequential:
    """Build a convolution that keeps the grid, a norm and a ReLU.

    Unlike the authors' convolutions it has no bias, which the norm would cancel.
    """
    padding = kernel_size // 2 * dilation
    # In a Sequential, MMEngine leaves its initialization to the module that owns it.
    return nn.Sequential(
        ConvModule(in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, norm_cfg=norm_cfg)
    )


def two_convs(in_channels: int, channels: int, norm_cfg: dict) -> nn.Sequential:
    """Build two 3x3 convolutions, each with a norm and a ReLU."""
    return conv_norm_act(in_channels, channels, norm_cfg) + conv_norm_act(channels, channels, norm_cfg)


def enlarge(x: Tensor, size: torch.Size) -> Tensor:
    """Resize features to ``size``, bilinearly, with aligned corners as in the authors' code."""
    return F.interpolate(x, size, mode='bilinear', align_corners=True)


class Fusion(BaseModule):
    """Join a coarse feature map of the decoder with a finer one of an encoder.

    Args:
        in_channels (int): channels of the finer map, C'.
        channels (int): channels of the coarse map and of the output, C.
        norm_cfg (dict): normalization.
    """

    def __init__(self, in_channels: int, channels: int, norm_cfg: dict):
        super().__init__()
        self.shortcut = nn.Conv2d(channels, channels, 1)
        self.join = two_convs(in_channels + channels, channels, norm_cfg)
        self.refine = two_convs(channels, channels, norm_cfg)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Fuse (B, C', H, W) with (B, C, h, w) to (B, C, H, W)."""
        coarse = enlarge(coarse, fine.shape[-2:])
        joint = self.join(torch.cat([fine, coarse], dim=1)) + self.shortcut(coarse)
        return joint + self.refine(joint)
