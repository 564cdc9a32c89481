"""IoU metric that also returns the IoU of every class."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module(force=True)
class ClassIoUMetric(IoUMetric):
    """:class:`mmseg.evaluation.IoUMetric` that also returns ``IoU.CLASS`` in percent, for logs and plots.

    A class in neither labels nor predictions has no IoU (NaN).

    Args:
        args, kwargs: those of the stock metric.
        left_out (Sequence[str]): names of classes that the means leave out, such as DeepGlobe's "unknown", or the
            background where only the buildings' IoU counts. Their pixels still count as errors of other classes, as in
            FCtL (Li et al., ICCV 2021); pixels that must not count at all need the label ``ignore_index``. The means
            over all classes are returned, too, as ``mIoU_all`` and the like. ``aAcc`` is over all pixels. Defaults to
            none.
        image_root (str, optional): folder of the images, whose sub-folders ``output_dir`` gets, too; files of one name
            would else overwrite each other's masks. Defaults to None: no sub-folders.
    """

    def __init__(self, *args, left_out: Sequence[str] = (), image_root: str | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.left_out, self.image_root = tuple(left_out), image_root

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measure a batch, and write its masks if there is an ``output_dir``.

        Raises:
            ValueError: if ``left_out`` holds an unknown name, or all classes.
        """
        classes = tuple(self.dataset_meta['classes'])
        if not {*self.left_out} < {*classes}:  # at the first batch, which a training tries before it begins
            raise ValueError(
                f'ClassIoUMetric: left_out={self.left_out} must be some, not all, of the classes {classes}'
            )
        if not self.output_dir or self.image_root is None:
            super().process(data_batch, data_samples)
            return
        folder = self.output_dir
        for sample in data_samples:
            inner = os.path.relpath(os.path.dirname(sample['img_path']), self.image_root)
            self.output_dir = str(Path(folder, *(part for part in Path(inner).parts if part != os.pardir)))
            os.makedirs(self.output_dir, exist_ok=True)
            super().process(data_batch, [sample])
        self.output_dir = folder

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Add the IoU of every class to the stock metrics, and leave classes out of the means, which the log says."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        classes = self.dataset_meta['classes']
        areas = [sum(parts) for parts in zip(*results)]  # intersection, union, predicted and true pixels
        if self.left_out:
            print_log(
                f'Left out of the means, but not of those that end in _all: {", ".join(self.left_out)}', 'current'
            )
            kept = [name not in self.left_out for name in classes]
            scores = self.total_area_to_metrics(*areas, self.metrics, self.nan_to_num, self.beta)
            for name in [name for name in scores if name != 'aAcc']:
                metrics[f'm{name}_all'] = metrics[f'm{name}']
                metrics[f'm{name}'] = np.round(100 * np.nanmean(scores[name][kept]), 2)
        per_class = (100 * areas[0] / areas[1]).tolist()
        return metrics | {f'IoU.{name}': iou for name, iou in zip(classes, per_class)}
