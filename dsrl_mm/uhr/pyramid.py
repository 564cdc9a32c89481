"""Laplacian pyramid (Burt and Adelson, 1983), the high frequencies that ISDNet's shallow network reads.

I_0 is the image, g the binomial low-pass (1, 4, 6, 4, 1) / 16 on both axes with every second sample kept,
I_{i+1} = g(I_i) the low-pass of level i, and H_i = I_i - enlarged I_{i+1} its residual (Eq. 1 of ISDNet).

Both directions work along one axis at a time and in phases: no sample that is dropped, or multiplied by an inserted
zero, is computed. They are sums of slices instead of convolutions, because convolutions of three channels are slow on
CPUs, and autocast would round them to half precision, in which small residuals vanish.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _reduce(padded: Tensor, dim: int) -> Tensor:
    """Blur along an axis, which has a border of 2, and keep the samples 0, 2, 4, ... of what is inside."""
    kept = (padded.shape[dim] - 3) // 2
    step = (..., slice(None, None, 2)) if dim == 3 else (..., slice(None, None, 2), slice(None))
    even, odd = padded[step], padded.narrow(dim, 1, padded.shape[dim] - 1)[step]
    ends = even.narrow(dim, 0, kept) + even.narrow(dim, 2, kept)
    inner = odd.narrow(dim, 0, kept) + odd.narrow(dim, 1, kept)
    return ends.add_(inner, alpha=4).add_(even.narrow(dim, 1, kept), alpha=6).mul_(1 / 16)


def _enlarge(x: Tensor, dim: int, size: int) -> Tensor:
    """Insert a zero after every sample along an axis and blur with twice the kernel, reflecting the border."""
    last = x.shape[dim] - 1
    # Reflected, the zeros make the border's neighbors: the second sample before the first, the last one after the last.
    following = torch.cat([x.narrow(dim, 1, last), x.narrow(dim, last, 1)], dim)
    previous = torch.cat([x.narrow(dim, 1, 1), x.narrow(dim, 0, last)], dim)
    even = (previous + following).add_(x, alpha=6).mul_(1 / 8)
    odd = (x + following).mul_(1 / 2)
    return torch.stack([even, odd], dim + 1).flatten(dim, dim + 1).narrow(dim, 0, size)


def reduce_by_two(image: Tensor) -> Tensor:
    """Low-pass images (B, C, H, W) to (B, C, ceil(H / 2), ceil(W / 2)); sides are at least 3."""
    return _reduce(_reduce(F.pad(image, (2, 2, 2, 2), mode='reflect'), 2), 3)


def enlarge_by_two(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge images (B, C, h, w) to H and W in ``size``, which are 2h and 2w, or one less; h and w are at least 2."""
    return _enlarge(_enlarge(image, 3, size[1]), 2, size[0])


class LaplacianPyramid(nn.Module):
    """Splits images into high frequencies and low-pass levels.

    Args:
        levels (int): number of levels. Defaults to 2, as in ISDNet.

    Raises:
        ValueError: if ``levels`` is not an integer of at least 0.
    """

    def __init__(self, levels: int = 2):
        super().__init__()
        if isinstance(levels, bool) or not isinstance(levels, int) or levels < 0:
            raise ValueError(f'LaplacianPyramid: levels must be an integer of at least 0, got {levels!r}')
        self.levels = levels

    def forward(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Split images (B, C, H, W), whose sides at the last level but one are at least 3 pixels.

        Returns:
            tuple[list[Tensor], list[Tensor]]: the residuals H_0, H_1, ... of I_0, I_1, ...; and I_0, I_1, ..., I_n, one
            more, where I_0 is ``image``. Level i has 1 / 2^i of each side, rounded up.
        """
        residuals, levels = [], [image]
        for _ in range(self.levels):
            levels.append(reduce_by_two(levels[-1]))
            residuals.append(levels[-2] - enlarge_by_two(levels[-1], levels[-2].shape[-2:]))
        return residuals, levels


def high_frequencies(residuals: list[Tensor]) -> Tensor:
    """Enlarge residuals (B, C, H_i, W_i) bilinearly to the first one's size, and concatenate: (B, n C, H, W)."""
    first, *others = residuals
    size = first.shape[-2:]
    return torch.cat([first, *(F.interpolate(x, size, mode='bilinear', align_corners=False) for x in others)], 1)
