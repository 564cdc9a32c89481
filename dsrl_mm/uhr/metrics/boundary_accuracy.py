"""Mean boundary accuracy of high-resolution masks."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from .sod import gray_prediction


def radii(height: int, width: int, count: int = 5) -> list[int]:
    """Return the radii of the boundary regions of an image, in pixels: 1 to nearly (H + W) / 300."""
    return [1 + int(i / count * ((height + width) / 300 - 1)) for i in range(count)]


def boundary_accuracy(prediction: np.ndarray, truth: np.ndarray, ignore_index: int = 255) -> float:
    """Compute the share of pixels near a true boundary that have the right class, averaged over five radii.

    Args:
        prediction (np.ndarray): class ids, (H, W).
        truth (np.ndarray): class ids or ``ignore_index``, (H, W), from 0 to 255.
        ignore_index (int): id of unlabeled pixels. Defaults to 255.

    Returns:
        float: from 0 to 1; NaN if the image has no boundary.
    """
    ids, right = truth.astype(np.uint8), prediction == truth
    shares = []
    for radius in radii(*truth.shape):
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
        # Where the largest and the least id nearby differ: the union of the boundary regions of all classes.
        region = (cv2.morphologyEx(ids, cv2.MORPH_GRADIENT, kernel) > 0) & (truth != ignore_index)
        shares.append(right[region].mean() if region.any() else np.nan)
    return float(np.mean(shares))


@METRICS.register_module(force=True)
class MeanBoundaryAccuracy(BaseMetric):
    """Mean boundary accuracy (Cheng et al., "CascadePSP", CVPR 2020), in percent: ``mBA``.

    The accuracy of pixels within a radius of a true boundary, averaged over five radii that grow with the image, then
    over images. Images without a boundary are left out. With several classes, boundaries are those of all; unlabeled
    pixels are left out.

    Args:
        ignore_index (int): id of unlabeled pixels. Defaults to 255.
        saliency (bool): whether to take the 8-bit gray values above 128 as the object, as papers on salient objects do,
            not the predicted class. (For heads with one channel, MMSegmentation's threshold is 0.3 by default.)
            Defaults to False.
        kwargs: arguments of :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(self, ignore_index: int = 255, saliency: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.ignore_index, self.saliency = ignore_index, saliency

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measure a batch.

        Args:
            data_batch (dict): not used.
            data_samples (Sequence[dict]): ``pred_sem_seg.data`` and ``gt_sem_seg.data``, each (1, H, W), class ids;
                with ``saliency``, ``seg_logits.data``.
        """
        for sample in data_samples:
            truth = sample['gt_sem_seg']['data'][0].cpu().numpy()
            if self.saliency:
                prediction = gray_prediction(sample) > 128
            else:
                prediction = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy()
            self.results.append(boundary_accuracy(prediction, truth, self.ignore_index))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Average over the images that have a boundary; NaN if none has."""
        found = [share for share in results if not np.isnan(share)]
        return dict(mBA=100 * float(np.mean(found)) if found else float('nan'))
