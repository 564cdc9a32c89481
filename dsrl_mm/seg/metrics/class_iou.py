"""IoU metric that also returns the IoU of every class."""

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

__all__ = ['ClassIoUMetric']


@METRICS.register_module(force=True)
class ClassIoUMetric(IoUMetric):
    """:class:`mmseg.evaluation.IoUMetric` that also returns ``IoU.CLASS`` in percent, for logs and plots.

    A class in neither labels nor predictions has no IoU (NaN). Takes the arguments of the stock metric.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Add the IoU of every class to the stock metrics."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        intersect, union = (sum(areas) for areas in list(zip(*results))[:2])
        per_class = (100 * intersect / union).tolist()
        return metrics | {f'IoU.{name}': iou for name, iou in zip(self.dataset_meta['classes'], per_class)}
