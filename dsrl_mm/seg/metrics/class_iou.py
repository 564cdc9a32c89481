"""IoU metric that also returns the IoU of every class."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

__all__ = ['ClassIoUMetric']


@METRICS.register_module(force=True)
class ClassIoUMetric(IoUMetric):
    """:class:`mmseg.evaluation.IoUMetric` that also returns ``IoU.CLASS`` in percent, for logs and plots.

    A class in neither labels nor predictions has no IoU (NaN).

    Args:
        args, kwargs: those of the stock metric.
        image_root (str, optional): folder of the images, whose sub-folders ``output_dir`` gets, too; files of one name
            would else overwrite each other's masks. Defaults to None: no sub-folders.
    """

    def __init__(self, *args, image_root: str | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        self.image_root = image_root

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measure a batch, and write its masks if there is an ``output_dir``."""
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
        """Add the IoU of every class to the stock metrics."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        intersect, union = (sum(areas) for areas in list(zip(*results))[:2])
        per_class = (100 * intersect / union).tolist()
        return metrics | {f'IoU.{name}': iou for name, iou in zip(self.dataset_meta['classes'], per_class)}
