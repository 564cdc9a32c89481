"""Masks as PGNet learns them."""

import torch
from mmseg.utils import SampleList
from torch import Tensor


def labeled(ids: Tensor, ignore_index: int | None) -> Tensor:
    """Return 1 where class ids are of labeled pixels, else 0, as float; ``ignore_index=None`` ignores none."""
    return torch.ones_like(ids, dtype=torch.float) if ignore_index is None else (ids != ignore_index).float()


def mask_of(samples: SampleList, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """Read the masks of a batch.

    Args:
        samples (SampleList): with ``gt_sem_seg`` of shape (1, H, W), class ids, of which 1 is the object. Where they
            hold a ``gt_depth_map``, too, that is a soft mask in [0, 1], and is learned instead. It is the one float map
            that stock pipelines carry through every transform; see :class:`LoadMask`.
        ignore_index (int, optional): class id of unlabeled pixels.

    Returns:
        tuple[Tensor, Tensor]: masks in [0, 1], and 1 where pixels are labeled, else 0; both float, (B, 1, H, W).
    """
    ids = torch.stack([sample.gt_sem_seg.data for sample in samples])
    valid = labeled(ids, ignore_index)
    if all('gt_depth_map' in sample for sample in samples):
        mask = torch.stack([sample.gt_depth_map.data for sample in samples]).float()
    else:
        mask = (ids == 1).float()
    return mask * valid, valid


def check_binary(name: str, num_classes: int, out_channels: int) -> None:
    """Raise a ValueError if a head is not one of one channel for two classes."""
    if (num_classes, out_channels) != (2, 1):
        raise ValueError(
            f'{name} tells an object from the background in one channel: set num_classes=2 and out_channels=1, got '
            f'{num_classes} and {out_channels}'
        )
