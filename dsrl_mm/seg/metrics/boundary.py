"""How well predicted boundaries lie on the true ones, class by class: where super-resolution should show."""

from collections.abc import Sequence

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

__all__ = ['BoundaryMetric', 'boundary_counts']


def _distance(pixels: np.ndarray) -> np.ndarray:
    """Euclidean distance of every pixel to the nearest one of a mask (H, W); infinite if that is empty."""
    if not pixels.any():
        return np.full(pixels.shape, np.inf)
    return cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _edges(classes: np.ndarray, ignore_index: int) -> np.ndarray:
    """Pixels of a class that touch, on one of four sides, a pixel of another class; a mask (H, W)."""
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
    """What :class:`BoundaryMetric` adds up over images.

    Args:
        prediction (np.ndarray): class ids, (H, W).
        truth (np.ndarray): class ids or ``ignore_index``, (H, W).
        num_classes (int): K.
        tolerance (float): pixels.
        ignore_index (int): of pixels without a class. Defaults to 255.

    Returns:
        np.ndarray: numbers of pixels, (K, 6): of the predicted boundary, and of these, near the true one; of the true
        boundary, and of these, near the predicted one; in both bands; in either band.
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


@METRICS.register_module()
class BoundaryMetric(BaseMetric):
    """Boundary F-score and Boundary IoU of every class, in percent: ``BF.CLASS``, ``BIoU.CLASS``, ``mBF``, ``mBIoU``.

    The boundary of a class is those of its pixels that touch another class. Precision is the share of the predicted
    boundary that lies within a tolerance of the true one, recall the converse, and BF their harmonic mean (Csurka et
    al., "What is a good evaluation measure for semantic segmentation?", BMVC 2013). BIoU is the IoU of the bands of a
    class's pixels that are nearer to its boundary than the tolerance (Cheng et al., "Boundary IoU", CVPR 2021).

    Pixels are counted over the whole data set, not averaged over images, so that a class that fills few of them brings
    no noise. A class without boundary in both labels and predictions has no score (NaN), and the means leave it out;
    one that is only predicted has 0, as in mIoU.

    Neither the image's border nor that of ignored ground is a boundary. Nearer to ignored ground than the tolerance,
    nothing is counted, only matched: the counterpart may lie hidden there.

    Args:
        tolerance (float): a share of the image's diagonal; also the width of the bands. Defaults to 0.0075, Csurka et
            al.'s: 4.5 pixels of a 360x480 image. (DAVIS, Perazzi et al., CVPR 2016, has 0.008.)
        ignore_index (int): of pixels without a class. Defaults to 255.
        **kwargs: those of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: for a tolerance that is no share.
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
            data_batch (dict): not read.
            data_samples (Sequence[dict]): ``pred_sem_seg.data`` and ``gt_sem_seg.data``, each (1, H, W), class ids.

        Raises:
            ValueError: for labels with other ids than those of classes and ``ignore_index``.
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
        """Add up images, and score the classes."""
        predicted, right, true, found, intersection, union = sum(results).T
        with np.errstate(invalid='ignore'):  # 0 / 0 is NaN: a class without boundary
            precision, recall = (part / np.maximum(whole, 1) for part, whole in ((right, predicted), (found, true)))
            f_score = np.where(right + found > 0, 2 * precision * recall / (precision + recall), 0.0)
            scores = {'BF': f_score, 'BIoU': intersection / union}
        scores = {name: np.where(predicted + true > 0, values, np.nan) for name, values in scores.items()}
        metrics = {f'm{name}': 100 * float(np.nanmean(values)) for name, values in scores.items()}
        for name, values in scores.items():
            metrics |= zip((f'{name}.{label}' for label in self.dataset_meta['classes']), (100 * values).tolist())
        return metrics
