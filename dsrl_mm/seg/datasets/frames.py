"""Transforms for low-resolution frames whose masks have high resolution."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.datasets.transforms import RandomCrop
from mmseg.registry import TRANSFORMS

from ...core.resample import check_scale_factor


@TRANSFORMS.register_module(force=True)
class EnlargeFrame(BaseTransform):
    """Repeat every pixel of a low-resolution frame, so that it has its mask's size.

    The area average of :class:`~dsrl_mm.seg.DSRLSegmentor` undoes this, so the network reads the frame itself: to the
    last bit with a factor of 2, up to rounding with others. Masks, crops, flips and metrics work on the canvas as they
    always do. Crops must start at multiples of the factor, see :class:`AlignedRandomCrop`. There is no image for SISR
    to rebuild: set ``model.sr_aux=None``.

    Args:
        scale_factor (int): the mask's size over the frame's, and ``model.scale_factor``. Defaults to 2.
    """

    def __init__(self, scale_factor: int = 2):
        self.scale_factor = check_scale_factor(scale_factor)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Enlarge ``img``, (H, W) or (H, W, C), and set ``img_shape`` and ``ori_shape`` to the canvas's.

        Raises:
            ValueError: if a mask is loaded that does not have the canvas's size.
        """
        frame = results['img']
        image = frame.repeat(self.scale_factor, 0).repeat(self.scale_factor, 1)
        size = image.shape[:2]
        for key in results.get('seg_fields', ()):
            if results[key].shape[:2] != size:
                raise ValueError(
                    f'{results.get("seg_map_path", key)} has {results[key].shape[:2]} pixels (height, width), but '
                    f'{self.scale_factor} times its frame {results.get("img_path", "")} are {size}. Set scale_factor '
                    'of EnlargeFrame and of the model to the ratio of the two sizes, an integer.'
                )
        # Predictions are made, and compared with masks, on the canvas.
        return results | dict(img=image, img_shape=size, ori_shape=size)


@TRANSFORMS.register_module(force=True)
class AlignedRandomCrop(RandomCrop):
    """:class:`mmseg.datasets.RandomCrop` whose upper left corner is at multiples of ``scale_factor``.

    Any other corner would make the network read means of neighboring pixels of an enlarged frame.

    Args:
        args, kwargs: those of the stock transform.
        scale_factor (int): that of :class:`EnlargeFrame`. Defaults to 2.
    """

    def __init__(self, *args, scale_factor: int = 2, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale_factor = check_scale_factor(scale_factor)

    def crop(self, img: np.ndarray, crop_bbox: tuple[int, int, int, int]) -> np.ndarray:
        """Crop an array (H, W, ...) to a box of top, bottom, left and right, moved up and left to such a corner."""
        top, left = (side - side % self.scale_factor for side in (crop_bbox[0], crop_bbox[2]))
        return super().crop(img, (top, top + self.crop_size[0], left, left + self.crop_size[1]))
