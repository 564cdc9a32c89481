"""Boundary scores of drawings whose scores are known, and of random masks against all pairs of pixels."""

import math

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

import dsrl_mm.seg  # noqa: F401  (registers)
from dsrl_mm.seg.metrics.boundary import boundary_counts, boundary_scores

CLASSES = ('road', 'pole', 'rider')


def score(pairs, pixels, ignore_index=255):
    """The metrics of pairs of prediction and truth with a tolerance in pixels."""
    tolerance = pixels / math.hypot(*pairs[0][1].shape)
    metric = METRICS.build(dict(type='BoundaryMetric', tolerance=tolerance, ignore_index=ignore_index, _scope_='mmseg'))
    metric.dataset_meta = dict(classes=CLASSES)
    samples = [
        {key: dict(data=torch.from_numpy(mask)[None]) for key, mask in zip(('pred_sem_seg', 'gt_sem_seg'), pair)}
        for pair in pairs
    ]
    metric.process({}, samples)
    return metric.evaluate(len(pairs))


def halves(column, height=20, width=40):
    """Road, and a pole from a column on."""
    mask = np.zeros((height, width), np.int64)
    mask[:, column:] = 1
    return mask


def test_perfect_prediction_and_absent_class():
    scores = score([(halves(20), halves(20))], pixels=2)
    for name in ('mBF', 'BF.road', 'BF.pole', 'mBIoU', 'BIoU.road', 'BIoU.pole'):
        assert scores[name] == 100
    assert math.isnan(scores['BF.rider']) and math.isnan(scores['BIoU.rider'])


def test_predictions_of_heads_of_one_channel():
    truth = halves(20)
    scores = score([(halves(21).astype(np.float32), truth)], pixels=2)
    assert scores == pytest.approx(score([(halves(21), truth)], pixels=2), nan_ok=True)


def test_what_is_ignored_is_told():
    truth, prediction = halves(20), halves(25)
    ignored = truth.copy()
    ignored[:, 15:30] = 2
    metrics = score([(prediction, ignored)], pixels=2, ignore_index=2)
    ignored[ignored == 2] = 255
    assert metrics == pytest.approx(score([(prediction, ignored)], pixels=2), nan_ok=True)


def test_tolerance_of_what_was_published():
    assert METRICS.build(dict(type='BoundaryMetric', _scope_='mmseg')).tolerance == 0.0075


@pytest.mark.parametrize('ignore_index', [255, 9])
def test_unknown_ids_are_named(ignore_index):
    metric = METRICS.build(dict(type='BoundaryMetric', ignore_index=ignore_index, _scope_='mmseg'))
    metric.dataset_meta = dict(classes=CLASSES)
    label = halves(20)
    label[0, :3] = 264 - ignore_index, 3, ignore_index
    sample = {key: dict(data=torch.from_numpy(label)[None]) for key in ('pred_sem_seg', 'gt_sem_seg')}
    with pytest.raises(ValueError, match=rf'^labels/x.png: holds the class ids \[3, {264 - ignore_index}\], but'):
        metric.process({}, [dict(sample, seg_map_path='labels/x.png')])


@pytest.mark.parametrize(('pixels', 'expected'), [(1.5, 100), (1, 100), (0.9, 0)])
def test_shift_by_one_pixel(pixels, expected):
    assert score([(halves(21), halves(20))], pixels)['mBF'] == expected


def test_shifted_half_by_hand():
    # The lower half of the boundary is 3 pixels off, and the kink between the halves is a boundary, too.
    prediction = halves(20)
    prediction[10:] = halves(23)[10:]
    scores = score([(prediction, halves(20))], pixels=0.5)
    # Pole: predicted boundary 10 + 10 pixels in columns 20 and 23, and (9, 21), (9, 22) above the lower road; right 10.
    # True boundary: 20 pixels, found 10.
    assert scores['BF.pole'] == pytest.approx(100 * 2 * (10 / 22) * (10 / 20) / (10 / 22 + 10 / 20))
    # Road: column 19 above; below column 22 and, under the upper pole, (10, 20) and (10, 21); right 10.
    assert scores['BF.road'] == pytest.approx(100 * 2 * (10 / 22) * (10 / 20) / (10 / 22 + 10 / 20))


def test_boundary_iou_by_hand():
    # Bands of 3 columns: 20-22 and 21-23 of the pole, 17-19 and 18-20 of the road, so 2 of 4 columns in both.
    assert score([(halves(21), halves(20))], pixels=3)['mBIoU'] == 50


def test_counts_add_up_over_images():
    # 20 of 20 boundary pixels are right in one image, 0 of 4 in the other; a mean over images would be 50.
    pairs = [(halves(20), halves(20)), (halves(30, height=4), halves(20, height=4))]
    assert score(pairs, pixels=0.5)['BF.pole'] == pytest.approx(100 * 20 / 24)


def test_a_class_only_predicted_and_one_only_true_score_0():
    prediction, truth = halves(20), 2 * halves(20)
    scores = score([(prediction, truth)], pixels=2)
    assert scores['BF.pole'] == scores['BF.rider'] == scores['BIoU.rider'] == 0
    assert scores['BF.road'] == 100
    # Of a boundary all of which is near unlabeled pixels, none is counted; it can still be matched.
    assert boundary_scores(np.array([[0, 0, 5, 5, 0, 4], [5, 5, 0, 0, 0, 4]]))['BF'].tolist() == [0, 0]


def test_ignored_ground_neither_rewards_nor_punishes():
    truth = halves(20)
    truth[:, 15:18] = 255
    hidden = halves(20)
    hidden[:, 16] = 2  # only where nothing is known
    expected = score([(halves(20), truth)], pixels=1)
    assert expected['mBF'] == 100
    assert score([(hidden, truth)], pixels=1) == pytest.approx(expected, nan_ok=True)
    edge = halves(20)
    edge[:, 14] = 2  # its other side is hidden
    assert math.isnan(score([(edge, truth)], pixels=1)['BF.rider'])


def test_a_class_whose_boundary_is_hidden_has_no_score():
    truth = halves(20)
    truth[:, 18:22] = 255
    scores = score([(halves(20), truth)], pixels=2)
    assert all(math.isnan(scores[f'{name}.pole']) for name in ('BF', 'BIoU'))


def test_image_border_is_no_boundary():
    full = np.zeros((8, 8), np.int64)
    assert boundary_counts(full, full, 3, tolerance=2).sum() == 0


def slow_counts(prediction, truth, num_classes, tolerance):
    """The same, pixel by pixel, as the definitions have it."""
    height, width = truth.shape
    inside = [(y, x) for y in range(height) for x in range(width) if truth[y, x] != 255]
    ignored = [(y, x) for y in range(height) for x in range(width) if truth[y, x] == 255]

    def boundary(mask, index):
        return [
            (y, x)
            for y, x in inside
            if mask[y, x] == index
            and any(n in inside and mask[n] != index for n in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)))
        ]

    def away(pixel, others):
        return min((math.dist(pixel, other) for other in others), default=math.inf)

    rows = []
    for index in range(num_classes):
        outlines = [boundary(mask, index) for mask in (prediction, truth)]
        row = []
        for own, other in (outlines, outlines[::-1]):
            counted = [pixel for pixel in own if away(pixel, ignored) > tolerance]
            row += [len(counted), sum(away(pixel, other) <= tolerance for pixel in counted)]
        bands = [
            {p for p in inside if mask[p] == index and away(p, outline) < tolerance < away(p, ignored)}
            for mask, outline in zip((prediction, truth), outlines)
        ]
        rows.append([*row, len(bands[0] & bands[1]), len(bands[0] | bands[1])])
    return rows


@pytest.mark.parametrize('seed', range(6))
def test_random_masks_against_all_pairs(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = rng.integers(3, size=(2, 5, 4)).repeat(3, 1).repeat(4, 2)
    prediction = np.where(rng.random(truth.shape) < 0.1, rng.integers(3, size=truth.shape), prediction)
    truth[rng.random(truth.shape) < 0.01 * seed] = 255
    tolerance = rng.uniform(0.8, 3)
    assert boundary_counts(prediction, truth, 3, tolerance).tolist() == slow_counts(prediction, truth, 3, tolerance)


@pytest.mark.parametrize('tolerance', [0, 1, 5])
def test_tolerance_is_a_share(tolerance):
    with pytest.raises(ValueError, match=f"share of the image's diagonal, got {tolerance}"):
        METRICS.build(dict(type='BoundaryMetric', tolerance=tolerance, _scope_='mmseg'))
