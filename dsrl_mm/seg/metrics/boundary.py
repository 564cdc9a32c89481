"""Boundary F-score and Boundary IoU of every class."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS


def _distance(pixels: np.ndarray) -> np.ndarray:
    """Compute the Euclidean distance of every pixel to a mask (H, W); infinite if the mask is empty."""
    if not pixels.any():
        return np.full(pixels.shape, np.inf)
    return cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _edges(classes: np.ndarray, ignore_index: int) -> np.ndarray:
    """Return a mask (H, W) of the pixels that have a 4-neighbor of another class."""
    edges = np.zeros(classes.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = classes[one] != classes[other]
        differ &= (classes[one] != ignore_index) & (classes[other] != ignore_index)
        edges[one] |= differ
        edges[other] |= differ
    return edges


def boundary_counts(
    prediction: np.ndarray, truth: np.ndarray, num_classes: int, tolerance: float, ignore_index: int = 255
) -> np.ndarray:
    """Count the pixels of one image for :class:`BoundaryMetric`.

    Args:
        prediction (np.ndarray): class ids, (H, W).
        truth (np.ndarray): class ids or ``ignore_index``, (H, W).
        num_classes (int): K.
        tolerance (float): in pixels.
        ignore_index (int): id of unlabeled pixels. Defaults to 255.

    Returns:
        np.ndarray: numbers of pixels, (K, 6): predicted boundary; predicted boundary near the true one; true boundary;
        true boundary near the predicted one; intersection of the bands; union of the bands.
    """
    ignored = truth == ignore_index
    prediction = np.where(ignored, ignore_index, prediction)
    counted = _distance(ignored) > tolerance
    predicted_edges, true_edges = _edges(prediction, ignore_index), _edges(truth, ignore_index)
    counts = np.zeros((num_classes, 6), np.int64)
    for index in np.union1d(prediction[~ignored], truth[~ignored]):
        predicted, true = prediction == index, truth == index
        to_predicted, to_true = _distance(predicted & predicted_edges), _distance(true & true_edges)
        predicted_boundary, true_boundary = ((distance == 0) & counted for distance in (to_predicted, to_true))
        predicted_band = predicted & (to_predicted < tolerance) & counted
        true_band = true & (to_true < tolerance) & counted
        masks = (
            predicted_boundary,
            predicted_boundary & (to_true <= tolerance),
            true_boundary,
            true_boundary & (to_predicted <= tolerance),
            predicted_band & true_band,
            predicted_band | true_band,
        )
        counts[index] = [np.count_nonzero(mask) for mask in masks]
    return counts


def boundary_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the scores of every class from sums of :func:`boundary_counts`.

    Args:
        counts (np.ndarray): numbers of pixels, (..., K, 6).

    Returns:
        dict[str, np.ndarray]: ``BF`` and ``BIoU``, from 0 to 1, (..., K); NaN for a class without a boundary.
    """
    predicted, right, true, found, intersection, union = np.moveaxis(counts, -1, 0)
    with np.errstate(invalid='ignore'):  # 0 / 0 is NaN
        precision, recall = (part / np.maximum(whole, 1) for part, whole in ((right, predicted), (found, true)))
        f_score = np.where(right + found > 0, 2 * precision * recall / (precision + recall), 0.0)
        scores = {'BF': f_score, 'BIoU': intersection / union}
    return {name: np.where(predicted + true > 0, values, np.nan) for name, values in scores.items()}


@METRICS.register_module(force=True)
class BoundaryMetric(BaseMetric):
    """Boundary F-score and Boundary IoU of every class, in percent: ``BF.CLASS``, ``BIoU.CLASS``, ``mBF``, ``mBIoU``.

    The boundary of a class consists of its pixels that touch another class. Precision is the share of the predicted
    boundary within a tolerance of the true one, recall the share of the true boundary within a tolerance of the
    predicted one, and BF their harmonic mean (Csurka et al., "What is a good evaluation measure for semantic
    segmentation?", BMVC 2013). BIoU is the IoU of the bands of a class's pixels that are closer to its boundary than
    the tolerance (Cheng et al., "Boundary IoU", CVPR 2021).

    Pixels are counted over the whole data set, not averaged over images, which reduces the noise of rare classes. A
    class without a boundary in labels and predictions has no score (NaN) and is left out of the means. A class that is
    only predicted scores 0, as in mIoU.

    The borders of the image and of unlabeled regions are not boundaries. Boundary pixels within the tolerance of an
    unlabeled region are not counted, because their counterpart may be hidden there. They can still be matched.

    Args:
        tolerance (float): share of the image diagonal; also the width of the bands. Defaults to 0.0075, as in Csurka et
            al.: 4.5 pixels for 360x480. (DAVIS, Perazzi et al., CVPR 2016, uses 0.008.)
        ignore_index (int): id of unlabeled pixels. Defaults to 255.
        kwargs: arguments of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: if the tolerance is not between 0 and 1.
    """

    def __init__(self, tolerance: float = 0.0075, ignore_index: int = 255, **kwargs):
        super().__init__(**kwargs)
        if not 0 < tolerance < 1:
            raise ValueError(f"BoundaryMetric: tolerance is a share of the image's diagonal, got {tolerance}")
        self.tolerance = tolerance
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the boundary pixels of a batch.

        Args:
            data_batch (dict): not used.
            data_samples (Sequence[dict]): ``pred_sem_seg.data`` and ``gt_sem_seg.data``, each (1, H, W), class ids.

        Raises:
            ValueError: if a label has an id that is neither a class nor ``ignore_index``.
        """
        for sample in data_samples:
            # As integers: heads of one channel predict 0.0 and 1.0.
            prediction, truth = (
                sample[key]['data'].squeeze(0).cpu().numpy().astype(np.int64) for key in ('pred_sem_seg', 'gt_sem_seg')
            )
            pixels = self.tolerance * np.hypot(*truth.shape)
            classes = len(self.dataset_meta['classes'])
            unknown = set(np.unique(truth).tolist()) - {*range(classes), self.ignore_index}
            if unknown:
                raise ValueError(
                    f'{sample.get("seg_map_path", "A label")}: holds the class ids {sorted(unknown)}, but there are '
                    f'{classes} classes (0 to {classes - 1}), and {self.ignore_index} is ignored. Correct the label, '
                    'or set ignore_index of the metric and of the heads.'
                )
            self.results.append(boundary_counts(prediction, truth, classes, pixels, self.ignore_index))

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float]:
        """Sum the counts over images and compute the scores of every class."""
        scores = boundary_scores(sum(results))
        metrics = {f'm{name}': 100 * float(np.nanmean(values)) for name, values in scores.items()}
        for name, values in scores.items():
            metrics |= zip((f'{name}.{label}' for label in self.dataset_meta['classes']), (100 * values).tolist())
        return metrics
