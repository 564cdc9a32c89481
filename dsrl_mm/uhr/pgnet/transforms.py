"""Masks and augmentation of PGNet's training."""

from collections.abc import Sequence

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module(force=True)
class LoadMask(LoadAnnotations):
    """Load the mask of an object: class ids 0 and 1, where stock pipelines expect them.

    Images without a ``seg_map_path`` pass unchanged, so that the pipeline also serves inference.

    By default, ``seg_map_path`` is a gray image whose values from 128 are the object, as in saliency data sets.

    Args:
        object_ids (Sequence[int], optional): for labels of class ids: those that are the object. 255 stays unlabeled.
            Defaults to None: a gray image.
        soft (bool): whether to give the gray values / 255, too, which :class:`PGHead` and :class:`AttentionGuideHead`
            then learn, as PGNet's authors do. They are stored as ``gt_depth_map``, the one float map that stock
            pipelines carry through every transform. Metrics see ids. Defaults to False.
        backend_args (dict, optional): arguments of the file backend. Defaults to None.

    Raises:
        ValueError: for ``soft`` with ``object_ids``; in a pipeline, if a mask does not have its image's size, or is
            read as gray and holds ids.
    """

    def __init__(self, object_ids: Sequence[int] | None = None, soft: bool = False, backend_args: dict | None = None):
        super().__init__(backend_args=backend_args)
        if soft and object_ids is not None:
            raise ValueError('LoadMask: soft=True reads gray values, and object_ids class ids. Leave out one of them.')
        self.object_ids, self.soft = object_ids, soft

    def _load_seg_map(self, results: dict) -> None:
        path = results.get('seg_map_path')
        if path is None:  # at inference
            return
        flag = 'grayscale' if self.object_ids is None else 'unchanged'
        backend = 'cv2' if self.object_ids is None else 'pillow'  # of a palette, ids are wanted, not colors
        values = mmcv.imfrombytes(fileio.get(path, backend_args=self.backend_args), flag=flag, backend=backend)
        if 'ori_shape' in results and values.shape != tuple(results['ori_shape']):
            raise ValueError(
                f'{path}: a mask of shape {values.shape} for an image of {tuple(results["ori_shape"])} (height, '
                "width). A mask has one channel and its image's size: check that the two belong together."
            )
        if self.object_ids is not None:
            mask = np.isin(values, self.object_ids).astype(np.uint8)
            mask[values == 255] = 255
        else:
            if values.max() == 1:
                raise ValueError(
                    f'{path} holds values 0 and 1, class ids rather than gray values. Set object_ids=(1,) of LoadMask.'
                )
            mask = (values >= 128).astype(np.uint8)
        results['gt_seg_map'] = mask
        results['seg_fields'].append('gt_seg_map')
        if self.soft:
            results['gt_depth_map'] = values.astype(np.float32) / 255
            results['seg_fields'].append('gt_depth_map')


@TRANSFORMS.register_module(force=True)
class RandomBorderCrop(BaseTransform):
    """Cut a random part off the borders of an image and its maps.

    Args:
        ratio (float): largest share of each side that is cut off, in [0, 1). Defaults to 0.125, as for PGNet.

    Raises:
        ValueError: for another ratio.
    """

    def __init__(self, ratio: float = 0.125):
        if not 0 <= ratio < 1:
            raise ValueError(f'RandomBorderCrop: ratio is a part of the side, in [0, 1), got {ratio!r}')
        self.ratio = ratio

    def _span(self, side: int) -> slice:
        cut = np.random.randint(int(side * self.ratio) + 1)
        start = np.random.randint(cut + 1)
        return slice(start, start + side - cut)

    def transform(self, results: dict) -> dict:
        """Crop ``img`` and all ``seg_fields``, and set ``img_shape``."""
        window = tuple(map(self._span, results['img'].shape[:2]))
        for key in ('img', *results.get('seg_fields', [])):
            results[key] = results[key][window]
        results['img_shape'] = results['img'].shape[:2]
        return results
