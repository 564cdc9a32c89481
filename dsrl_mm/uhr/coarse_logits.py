"""Prediction without logits of the image's size, which take more memory than anything else for very large images."""

from collections.abc import Callable
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

#: Rows that are enlarged at a time.
_ROWS = 64


def _starts(length: int, size: int, stride: int) -> list[int]:
    """Where windows start that cover a side; the last one ends where it ends."""
    last = length - size
    return [*range(0, last, stride), last]


def coarse_logits(
    network: Callable[[Tensor], Tensor],
    canvas: Tensor,
    multiple: int,
    crop_size: tuple[int, int],
    stride: tuple[int, int],
) -> Tensor:
    """Average the logits of sliding windows on the grid of the network's output.

    Args:
        network (Callable): takes a window, (B, C, h, w), pads it to multiples of ``multiple``, and returns its logits
            on a grid whose cells divide ``multiple``.
        canvas (Tensor): (B, C, H, W).
        multiple (int): divisor of ``crop_size`` and ``stride``, in pixels.
        crop_size (tuple[int, int]): height and width of a window.
        stride (tuple[int, int]): pixels from a window to the next, down and to the right.

    Returns:
        Tensor: logits of the canvas padded to multiples of ``multiple``, (B, K, H / cell, W / cell).
    """
    sides = [-(-side // multiple) * multiple for side in canvas.shape[-2:]]
    height, width = (min(size, side) for size, side in zip(crop_size, sides))
    total = None
    for y, x in product(_starts(sides[0], height, stride[0]), _starts(sides[1], width, stride[1])):
        logits = network(canvas[..., y : y + height, x : x + width])
        if total is None:
            cell = height // logits.shape[-2]
            total = logits.new_zeros(*logits.shape[:2], *(side // cell for side in sides))
            count = logits.new_zeros(total.shape[-2:])
        rows, columns = (slice(start // cell, (start + size) // cell) for start, size in ((y, height), (x, width)))
        total[..., rows, columns] += logits
        count[rows, columns] += 1
    return total.div_(count)


def enlarged_labels(
    logits: Tensor, canvas: tuple[int, int], box: tuple[int, int, int, int], size: tuple[int, int], threshold: float
) -> Tensor:
    """Classify the pixels of an image by bilinearly enlarged logits, a strip of rows at a time.

    Args:
        logits (Tensor): (K, h, w).
        canvas (tuple[int, int]): height and width that the logits cover, in pixels.
        box (tuple[int, int, int, int]): top, left, height and width of the image on the canvas.
        size (tuple[int, int]): height and width of the image to classify.
        threshold (float): with K = 1, the least probability of class 1.

    Returns:
        Tensor: int64, (1, *size).
    """
    top, left, *box_size = box
    rows, columns = (
        (start + (torch.arange(n, device=logits.device) + 0.5) * (length / n)) * (2 / side) - 1
        for start, n, length, side in zip((top, left), size, box_size, canvas)
    )
    labels = torch.empty(size, dtype=torch.long, device=logits.device)
    for strip, y in zip(labels.split(_ROWS), rows.split(_ROWS)):
        grid = torch.stack(torch.meshgrid(columns, y, indexing='xy'), -1)
        values = F.grid_sample(logits[None].float(), grid[None], padding_mode='border', align_corners=False)[0]
        strip.copy_(values.argmax(0) if len(values) > 1 else values[0].sigmoid() > threshold)
    return labels[None]
