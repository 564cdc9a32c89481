"""Post-processing of label maps by other refiners, SegFix and CascadePSP (``docs/user_guides/refiners.md``)."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor


def apply_segfix_offsets(label: Tensor, offsets: Tensor, boundary: Tensor) -> Tensor:
    """Give each boundary pixel the label of the pixel that its offset points to (SegFix, Yuan et al., ECCV 2020).

    Labels are looked up, not interpolated, and all are looked up before any is changed.

    Args:
        label (Tensor): class ids, (..., H, W).
        offsets (Tensor): rows and columns to move by, in pixels, (..., 2, H, W). They are rounded, and targets beyond
            the image are moved to its border.
        boundary (Tensor): bool, (..., H, W): which pixels change.

    Returns:
        Tensor: like ``label``.

    Raises:
        ValueError: if the shapes do not fit each other.
    """
    *batch, height, width = label.shape
    if offsets.shape != (*batch, 2, height, width) or boundary.shape != label.shape:
        raise ValueError(
            f'apply_segfix_offsets: label has shape {tuple(label.shape)}, so offsets must have '
            f'{(*batch, 2, height, width)}, got {tuple(offsets.shape)}, and boundary {tuple(label.shape)}, got '
            f'{tuple(boundary.shape)}'
        )
    down, right = offsets.round().long().unbind(-3)
    rows = (torch.arange(height, device=label.device)[:, None] + down).clamp(0, height - 1)
    columns = (torch.arange(width, device=label.device) + right).clamp(0, width - 1)
    targets = (rows * width + columns).flatten(-2)
    return torch.where(boundary, label.flatten(-2).gather(-1, targets).view_as(label), label)


def load_cascade_psp(device: str = 'cpu', **options) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Load CascadePSP (Cheng et al., CVPR 2020) from the package ``segmentation-refinement``.

    When it is first used, the package downloads its weights, 259 MB, from a release of its GitHub repository.

    Args:
        device (str): 'cpu' or 'cuda'.
        **options: of ``Refiner.refine``: ``fast`` and ``L``.

    Returns:
        Callable: the ``refine`` of :func:`refine_classes`.

    Raises:
        ImportError: if the package is not installed.
    """
    try:
        from segmentation_refinement import Refiner
    except ModuleNotFoundError as error:
        raise ImportError(
            f'CascadePSP needs the package segmentation-refinement ({error}). Type: pip install segmentation-refinement'
        ) from error
    return partial(Refiner(device=device).refine, **options)


def refine_classes(
    image: np.ndarray,
    label: np.ndarray,
    refine: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ignore_index: int = 255,
) -> np.ndarray:
    """Refine a label map with a refiner of binary masks, class by class.

    A pixel takes the class whose refined mask is highest there. Where no mask exceeds 127, it keeps its label.

    Args:
        image (np.ndarray): (H, W, 3), uint8, BGR.
        label (np.ndarray): class ids, (H, W).
        refine (Callable): takes the image and the mask of a class, (H, W), uint8, 0 or 255, and returns the refined
            mask, (H, W), uint8, 0 to 255.
        ignore_index (int): label of pixels that keep it. Defaults to 255.

    Returns:
        np.ndarray: like ``label``.
    """
    refined, highest = label.copy(), np.full(label.shape, 127, np.uint8)
    for class_id in np.unique(label[label != ignore_index]):
        mask = refine(image, np.where(label == class_id, 255, 0).astype(np.uint8))
        higher = (mask > highest) & (label != ignore_index)
        refined[higher], highest[higher] = class_id, mask[higher]
    return refined
