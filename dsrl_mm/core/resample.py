"""Resampling between the high-resolution canvas and the network's low-resolution input.

Pipelines, labels, metas and predictions are on the high-resolution (HR) canvas. Only the network's input has low
resolution (LR). See ``docs/how_it_works.md``.
"""

import math

import torch.nn.functional as F
from torch import Tensor


def check_scale_factor(scale_factor: int, least: int = 2) -> int:
    """Return ``scale_factor`` if it is an integer of at least ``least``.

    Raises:
        ValueError: otherwise. Only integer factors make every LR pixel the mean of whole HR pixels.
    """
    if not isinstance(scale_factor, int) or isinstance(scale_factor, bool) or scale_factor < least:
        raise ValueError(
            f'scale_factor must be an integer of at least {least}, got {scale_factor!r}. It is the ratio of the '
            "canvas to the image the network reads; 2 is the paper's."
        )
    return scale_factor


def check_weight(name: str, weight: float) -> float:
    """Return a loss's weight if it is a number and not negative; ``name`` is the loss's, for the message.

    Raises:
        ValueError: otherwise. A negative weight would make the loss grow.
    """
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
        raise ValueError(f'{name}: loss_weight must be a number of at least 0, got {weight!r}')
    return weight


def pad_to_multiple(x: Tensor, multiple: int, value: float | None = None) -> Tensor:
    """Pad the bottom and the right of ``x`` so that ``multiple`` divides its height and width.

    Args:
        x (Tensor): shape (B, C, H, W), any float dtype; any dtype where ``value`` is given.
        multiple (int): divisor of the padded sides.
        value (float, optional): constant to pad with. Defaults to None: repeat the border pixels.

    Returns:
        Tensor: shape (B, C, ceil(H / multiple) * multiple, ceil(W / multiple) * multiple); ``x`` itself if no padding
        is needed.
    """
    # Exporters do not divide negative numbers as Python does, and may leave sizes open: these are no integers.
    bottom, right = ((multiple - side % multiple) % multiple for side in x.shape[-2:])
    if isinstance(bottom, int) and isinstance(right, int) and not (bottom or right):
        return x
    if value is None:
        return F.pad(x, (0, right, 0, bottom), mode='replicate')
    return F.pad(x, (0, right, 0, bottom), value=value)


def area_downsample(x: Tensor, scale_factor: int) -> Tensor:
    """Reduce images (B, C, H, W), whose sides ``scale_factor`` divides, by an antialiased area average."""
    return F.avg_pool2d(x, scale_factor)


def nearest_downsample(x: Tensor, scale_factor: int) -> Tensor:
    """Reduce labels (..., H, W) of any dtype, whose sides ``scale_factor`` divides, to the middle pixel of each block.

    Of four middle pixels, it is the lower right one.
    """
    middle = scale_factor // 2
    return x[..., middle::scale_factor, middle::scale_factor]
