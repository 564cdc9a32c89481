"""Metrics of salient object detection: MAE, F, S and E, all from one histogram of each image.

Symbols: p, a prediction in [0, 1], as 8-bit gray values stretched so that its least is 0 and its largest 1; g, its mask
of 0 and 1; N, the number of pixels. Conventions are those of PySODMetrics
(https://github.com/lartpang/PySODMetrics), against which the metrics are tested.
"""

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

_EPS = np.spacing(1.0)
_BETA2 = 0.3  # weight of precision in F, beta squared


def gray_prediction(sample: dict) -> np.ndarray:
    """Return the probability of the object, (H, W), as 8-bit gray values, as published predictions are stored.

    Args:
        sample (dict): a prediction with ``seg_logits.data``: one channel of probabilities, as MMSegmentation gives for
            heads with ``out_channels=1``, or two of logits.

    Raises:
        ValueError: for another number of channels.
    """
    logits = sample['seg_logits']['data'].float()
    if len(logits) not in (1, 2):
        raise ValueError(
            f'{sample.get("img_path", "A prediction")} has {len(logits)} channels, but salient objects need one of '
            'probabilities or two of logits (background, object). Set num_classes=2 of the head.'
        )
    probability = logits[0] if len(logits) == 1 else logits.softmax(0)[1]
    return (255 * probability).round().byte().cpu().numpy()


def joint_histogram(gray: np.ndarray, mask: np.ndarray, ignored: np.ndarray | None = None) -> np.ndarray:
    """Count the pixels of an image by quadrant, mask and gray value: all that the metrics read.

    Args:
        gray (np.ndarray): the prediction, (H, W), uint8.
        mask (np.ndarray): the object, (H, W), bool.
        ignored (np.ndarray, optional): pixels to leave out, (H, W), bool. Defaults to None.

    Returns:
        np.ndarray: numbers of pixels, (4, 2, 256): of the upper left, upper right, lower left and lower right quadrant;
        outside and inside the object; of each gray value. The quadrants meet one pixel below and right of the mask's
        centroid.
    """
    counted = np.ones_like(mask) if ignored is None else ~ignored
    rows, columns = (mask & counted).nonzero()
    # Python rounds halves to even, as NumPy does.
    center = (rows.mean(), columns.mean()) if len(rows) else (0, 0)
    (above, below), (left, right) = ((slice(round(at) + 1), slice(round(at) + 1, None)) for at in center)
    cells = mask * np.int16(256) + gray
    quadrants = [(above, left), (above, right), (below, left), (below, right)]
    return np.stack([np.bincount(cells[q][counted[q]], minlength=512).reshape(2, 256) for q in quadrants])


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; 0 where the denominator is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=np.asarray(whole) != 0)


def _moments(counts: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation (divided by n - 1; 0 for one) of values with counts."""
    n = counts.sum()
    mean = counts @ values / n
    return mean, np.sqrt(counts @ np.square(values - mean) / (n - 1)) if n > 1 else 0.0


def _object_similarity(counts: np.ndarray, values: np.ndarray) -> float:
    mean, deviation = _moments(counts, values)
    return 2 * mean / (mean**2 + 1 + deviation + _EPS)


def _region_similarity(counts: np.ndarray, values: np.ndarray) -> float:
    """Compute the similarity of prediction and mask in a quadrant, (2, 256): luminance, contrast and structure."""
    n = counts.sum()
    by_value = counts.sum(0)
    x, y = by_value @ values / n, counts[1].sum() / n
    mask = np.array([0.0, 1.0])[:, None]
    variance_x = by_value @ np.square(values - x) / (n - 1 + _EPS)
    variance_y = (counts * np.square(mask - y)).sum() / (n - 1 + _EPS)
    covariance = (counts * (values - x) * (mask - y)).sum() / (n - 1 + _EPS)
    above, below = 4 * x * y * covariance, (x**2 + y**2) * (variance_x + variance_y)
    if above != 0:
        return above / (below + _EPS)
    return float(below == 0)


def _s_measure(histogram: np.ndarray, p: np.ndarray, alpha: float = 0.5) -> float:
    """Compute the structure measure (Fan et al., "Structure-measure", ICCV 2017)."""
    outside, inside = histogram.sum(0)
    n, area = histogram.sum(), inside.sum()
    if area in (0, n):
        mean = (outside + inside) @ p / n
        return mean if area else 1 - mean
    share = area / n
    objects = share * _object_similarity(inside, p) + (1 - share) * _object_similarity(outside, 1 - p)
    regions = sum(part.sum() / n * _region_similarity(part, p) for part in histogram if part.any())
    return max(0.0, alpha * objects + (1 - alpha) * regions)


def _f_measure(hits: np.ndarray, positives: np.ndarray, area: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return F (Achanta et al., CVPR 2009), precision and recall of detections with so many hits and pixels."""
    precision, recall = _divide(hits, positives), hits / max(area, 1)
    return _divide((1 + _BETA2) * precision * recall, _BETA2 * precision + recall), precision, recall


def _e_measure(hits: np.ndarray, positives: np.ndarray, area: int, n: int) -> np.ndarray:
    """Compute the enhanced-alignment measure (Fan et al., IJCAI 2018) of binary detections."""
    if area == 0:
        return (n - positives) / (n - 1 + _EPS)
    if area == n:
        return positives / (n - 1 + _EPS)
    total = 0.0
    cells = (hits, positives - hits, area - hits, n - positives - area + hits)
    for i, cell in enumerate(cells):  # detected or not, in the object or not
        detected, true = (i < 2) - positives / n, (i % 2 == 0) - area / n
        alignment = 2 * detected * true / (detected**2 + true**2 + _EPS)
        total = total + cell * (alignment + 1) ** 2 / 4
    return total / (n - 1 + _EPS)


def sod_scores(histogram: np.ndarray) -> dict[str, np.ndarray | float]:
    """Compute the scores of one image.

    Args:
        histogram (np.ndarray): of :func:`joint_histogram`.

    Returns:
        dict[str, np.ndarray | float]: 'MAE', 'S', 'F_adaptive' and 'E_adaptive'; and at 256 thresholds, from the
        largest gray value to the least, 'F', 'E', 'precision' and 'recall', each (256,).
    """
    outside, inside = histogram.sum(0)
    n, area = int(histogram.sum()), int(inside.sum())
    p = np.arange(256) / 255
    present = p[(outside + inside) > 0]
    if present[0] != present[-1]:
        p = (p - present[0]) / (present[-1] - present[0])
    # A stretched value is cut to 8 bits again. Values beyond those present have no pixels.
    levels = (p.clip(0, 1) * 255).astype(np.uint8)
    detected = [np.bincount(levels, part, 256)[::-1].cumsum() for part in (inside, outside)]
    hits, positives = detected[0], detected[0] + detected[1]
    f, precision, recall = _f_measure(hits, positives, area)
    above = p >= min(2 * ((outside + inside) @ p) / n, 1)
    adaptive = inside[above].sum(), (outside + inside)[above].sum()
    return dict(
        MAE=(outside @ p + inside @ (1 - p)) / n,
        S=_s_measure(histogram, p),
        F_adaptive=float(_f_measure(*adaptive, area)[0]),
        E_adaptive=float(_e_measure(*adaptive, area, n)),
        F=f,
        E=_e_measure(hits, positives, area, n),
        precision=precision,
        recall=recall,
    )


@METRICS.register_module(force=True)
class SODMetric(BaseMetric):
    """Metrics of salient objects, averaged over images: MAE, F, S and E, from 0 to 1 (E: to N / (N - 1)).

    Every prediction counts as 8-bit gray values and is stretched to 0..1, as evaluators of saved predictions do. F
    weights precision with beta squared = 0.3. Keys:

    - ``MAE``: mean absolute error.
    - ``F_max``: the largest of the mean over images of F, over 256 thresholds (PySODMetrics).
    - ``F_max_of_means``: the largest F of mean precision and mean recall (F3Net's evaluator, used for PGNet). The two
      need not agree in the third digit; say which one a table has.
    - ``F_mean``, ``E_mean``: means over thresholds. ``E_max``: as ``F_max``.
    - ``F_adaptive``, ``E_adaptive``: at twice the mean of each prediction, at most 1.
    - ``S``: structure measure, alpha = 0.5.

    Images with an empty mask count, as in PySODMetrics: F is 0 for them. F3Net's evaluator skips them.

    Args:
        ignore_index (int): id of unlabeled pixels, which are left out. Defaults to 255.
        kwargs: arguments of :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(self, ignore_index: int = 255, **kwargs):
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measure a batch.

        Args:
            data_batch (dict): not used.
            data_samples (Sequence[dict]): ``seg_logits.data``, see :func:`gray_prediction`; ``gt_sem_seg.data``,
                (1, H, W), 0, 1 or ``ignore_index``.

        Raises:
            ValueError: if a mask holds other ids, or only unlabeled pixels.
        """
        for sample in data_samples:
            truth = sample['gt_sem_seg']['data'][0].cpu().numpy()
            where = sample.get('seg_map_path', 'A mask')
            if unknown := set(np.unique(truth).tolist()) - {0, 1, self.ignore_index}:
                raise ValueError(
                    f'{where}: holds the ids {sorted(unknown)}, but SODMetric needs 0, 1 and {self.ignore_index} '
                    '(ignored). Load gray masks with LoadMask.'
                )
            ignored = truth == self.ignore_index
            if ignored.all():
                raise ValueError(f'{where}: all pixels are ignored. Leave the image out.')
            self.results.append(sod_scores(joint_histogram(gray_prediction(sample), truth == 1, ignored)))

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over images."""
        mean = {name: np.mean([result[name] for result in results], 0) for name in results[0]}
        of_means = _divide(
            (1 + _BETA2) * mean['precision'] * mean['recall'], _BETA2 * mean['precision'] + mean['recall']
        )
        scores = {name: mean[name] for name in ('MAE', 'S', 'F_adaptive', 'E_adaptive')}
        scores |= dict(F_max=mean['F'].max(), F_max_of_means=of_means.max(), F_mean=mean['F'].mean())
        scores |= dict(E_max=mean['E'].max(), E_mean=mean['E'].mean())
        return {name: float(score) for name, score in scores.items()}
