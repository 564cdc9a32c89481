"""Batches of several sizes, as PGNet is trained on."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (C, H, W); integers, which are class ids, by nearest neighbor."""
    if x.is_floating_point():
        return F.interpolate(x[None], size, mode='bilinear', align_corners=False)[0]
    return F.interpolate(x[None].float(), size, mode='nearest-exact')[0].to(x.dtype)


@MODELS.register_module(force=True)
class MultiScalePreProcessor(SegDataPreProcessor):
    """Stock preprocessor that first resizes the images and masks of a training batch to one size drawn at random.

    The images of a batch may differ in size, and lose their aspect ratio. Evaluation is the stock preprocessor's.

    Args:
        sizes (Sequence[int | Sequence[int]]): sides of squares, or (height, width), in pixels. PGNet has (960, 992,
            1024, 1056, 1088).
        **kwargs: arguments of ``SegDataPreProcessor``.

    Raises:
        ValueError: if there is no size, or one is not positive.
    """

    def __init__(self, sizes: Sequence[int | Sequence[int]], **kwargs):
        super().__init__(**(kwargs if kwargs.get('size') else dict(size_divisor=1) | kwargs))
        self.sizes = [(size, size) if isinstance(size, int) else tuple(size) for size in sizes]
        if not self.sizes or min(map(min, self.sizes)) < 1 or any(len(size) != 2 for size in self.sizes):
            raise ValueError(
                'MultiScalePreProcessor: sizes lists sides in pixels, or (height, width), as in sizes=(960, 1024, '
                f'1088), but got {sizes!r}'
            )

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch, see the stock preprocessor."""
        if training:
            data = self.cast_data(data)
            size = self.sizes[int(torch.randint(len(self.sizes), ()))]
            data['inputs'] = [_resize(image.float(), size) for image in data['inputs']]
            for sample in data['data_samples']:
                for name in ('gt_sem_seg', 'gt_depth_map'):
                    if name in sample:
                        sample.set_data({name: sample.get(name).new(data=_resize(sample.get(name).data, size))})
        return super().forward(data, training)
