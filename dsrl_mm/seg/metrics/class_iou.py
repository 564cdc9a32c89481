"""MMSegmentation's IoU, with every class in the results and not only in the printed table."""

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

__all__ = ['ClassIoUMetric']


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """:class:`mmseg.evaluation.IoUMetric` that also returns ``IoU.CLASS`` in percent, so that logs and plots have it.

    A class found neither in the labels nor in the predictions has no IoU (NaN), as in the mean. Takes the original's
    arguments.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Add the classes' IoU to the stock metrics."""
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        intersect, union = (sum(areas) for areas in list(zip(*results))[:2])
        per_class = (100 * intersect / union).tolist()
        return metrics | {f'IoU.{name}': iou for name, iou in zip(self.dataset_meta['classes'], per_class)}
