"""Boundary accuracy of drawings worked out by hand."""

import math

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

import dsrl_mm.uhr  # noqa: F401  (registers)
from dsrl_mm.uhr.metrics.boundary_accuracy import boundary_accuracy, radii


def halves(column, shape=(10, 20)):
    """Class 1 from a column on."""
    mask = np.zeros(shape, np.int64)
    mask[:, column:] = 1
    return mask


def score(*pairs, **options):
    metric = METRICS.build(dict(type='MeanBoundaryAccuracy', _scope_='mmseg', **options))
    names = ('pred_sem_seg', 'gt_sem_seg')
    metric.process({}, [{name: dict(data=torch.from_numpy(part)[None]) for name, part in zip(names, p)} for p in pairs])
    return metric.evaluate(len(pairs))['mBA']


@pytest.mark.parametrize(
    ('size', 'expected'),
    [((1024, 1024), [1, 2, 3, 4, 5]), ((2160, 3840), [1, 4, 8, 12, 16]), ((20, 30), [1] * 5)],
)
def test_radii(size, expected):
    assert radii(*size) == expected


def test_small_images_by_hand():
    # Radius 1: columns 9 and 10 of each row are near the boundary. The prediction is wrong in column 10.
    assert boundary_accuracy(halves(10), halves(10)) == 1
    assert boundary_accuracy(halves(11), halves(10)) == 0.5
    assert boundary_accuracy(halves(14), halves(10)) == 0.5
    assert boundary_accuracy(1 - halves(10), halves(10)) == 0


def test_growing_radii_by_hand():
    # H + W = 1500: radii 1, 1, 2, 3, 4, of 2 r columns each; two of them are wrong.
    truth, prediction = halves(700, (100, 1400)), halves(702, (100, 1400))
    assert radii(100, 1400) == [1, 1, 2, 3, 4]
    assert boundary_accuracy(prediction, truth) == pytest.approx((1 / 2 + 1 / 2 + 2 / 4 + 4 / 6 + 6 / 8) / 5)


def test_one_pixel():
    truth = np.zeros((7, 7), np.int64)
    truth[3, 3] = 1  # with its four neighbors: five pixels
    assert boundary_accuracy(np.zeros_like(truth), truth) == pytest.approx(4 / 5)


@pytest.mark.parametrize('value', [0, 1])
def test_images_without_a_boundary_are_left_out(value):
    flat = np.full((10, 20), value)
    assert math.isnan(score((halves(10), flat)))
    assert score((halves(10), flat), (halves(11), halves(10))) == 50


def test_boundaries_of_all_classes():
    truth, prediction = halves(10), halves(10)
    truth[:, 15:], prediction[:, 15:] = 2, 1
    # Columns 9, 10, 14 and 15; column 15 is wrong.
    assert score((prediction, truth)) == pytest.approx(75)


def test_unlabeled_pixels():
    truth, prediction = halves(10), halves(10)
    truth[:, 12:] = 255
    prediction[:, 11] = 0
    # Columns 9, 10, and 11, which touches the unlabeled part.
    assert score((prediction, truth)) == pytest.approx(100 * 2 / 3)
    truth[truth == 255] = 9
    assert score((prediction, truth), ignore_index=9) == pytest.approx(100 * 2 / 3)


def test_gray_values():
    gray = torch.tensor(128 + halves(10)) / 255.0
    sample = dict(seg_logits=dict(data=gray[None]), gt_sem_seg=dict(data=torch.from_numpy(halves(10))[None]))
    sample['pred_sem_seg'] = dict(data=(gray > 0.3)[None])  # by MMSegmentation's threshold: object everywhere
    for saliency, expected in ((True, 100), (False, 50)):
        metric = METRICS.build(dict(type='MeanBoundaryAccuracy', saliency=saliency, _scope_='mmseg'))
        metric.process({}, [sample])
        assert metric.evaluate(1)['mBA'] == expected
