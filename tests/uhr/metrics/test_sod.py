"""Metrics of salient objects against PySODMetrics's values (make_sod_golden.py) and against numbers by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

import dsrl_mm.uhr  # noqa: F401  (registers)
from dsrl_mm.uhr.metrics.sod import gray_prediction, joint_histogram

from .sod_cases import cases

GOLDEN = json.loads(Path(__file__).with_name('sod_golden.json').read_text())


def sample(gray, mask):
    """What a segmentor of one output channel predicts."""
    probability = torch.as_tensor(np.asarray(gray) / 255, dtype=torch.float32)
    return dict(seg_logits=dict(data=probability[None]), gt_sem_seg=dict(data=torch.as_tensor(np.asarray(mask))[None]))


def score(*pairs, **options):
    metric = METRICS.build(dict(type='SODMetric', _scope_='mmseg', **options))
    metric.process({}, [sample(*pair) for pair in pairs])
    return metric.evaluate(len(pairs))


def pair(name):
    gray, mask = cases()[name]
    return gray, mask // 255


@pytest.mark.parametrize('name', cases())
def test_each_image_as_pysodmetrics(name):
    assert score(pair(name)) == pytest.approx(GOLDEN[name], abs=2e-9)


def test_all_images_as_pysodmetrics():
    scores = score(*map(pair, cases()))
    assert scores == pytest.approx(GOLDEN['all'], abs=2e-9)
    assert abs(scores['F_max'] - scores['F_max_of_means']) > 0.01  # two definitions, two numbers


def test_by_hand():
    # Two of four pixels are the object. Gray values 0, 51, 204, 255, that is 0, 0.2, 0.8, 1; 0.2 is in the object.
    scores = score(([[0, 51], [204, 255]], [[0, 1], [0, 1]]))
    assert scores['MAE'] == pytest.approx((0 + 0.8 + 0.8 + 0) / 4)
    # Twice the mean is 1: detected is the last pixel alone. Precision 1, recall 1/2.
    assert scores['F_adaptive'] == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))
    # Thresholds: 51 from 255 to 205: as above; 153 down to 52: 1 of 2; 51 down to 1: 2 of 3; 0: 2 of 4.
    f = [1.3 * p * r / (0.3 * p + r) for p, r in ((1, 1 / 2), (1 / 2, 1 / 2), (2 / 3, 1), (1 / 2, 1))]
    assert scores['F_mean'] == pytest.approx((51 * f[0] + 153 * f[1] + 51 * f[2] + f[3]) / 256)
    assert scores['F_max'] == pytest.approx(max(f))
    # Detected - mean is 3/4 for the last pixel and -1/4 for the others; true - mean is +1/2 or -1/2.
    agree, miss = (2 * a * b / (a * a + b * b) for a, b in ((3 / 4, 1 / 2), (-1 / 4, 1 / 2)))
    rest = 2 * (1 / 4) * (1 / 2) / (1 / 16 + 1 / 4)
    expected = ((agree + 1) ** 2 + (miss + 1) ** 2 + 2 * (rest + 1) ** 2) / 4 / 3
    assert scores['E_adaptive'] == pytest.approx(expected)


def test_a_mask_at_the_corner():
    # The lower and the right quadrants are empty, so the upper left one is all of the similarity: 1, as of the objects.
    mask = np.zeros((4, 5), int)
    mask[3, 4] = 1
    assert score((255 * mask, mask))['S'] == pytest.approx(1)


def test_stretching_and_ignored_pixels():
    mask = np.array([[0, 0, 1, 255]])
    scores = score(([[10, 20, 30, 250]], mask))
    assert scores == pytest.approx(score(([[0, 127.5, 255]], mask[:, :3])), abs=0.01)
    assert scores['MAE'] == pytest.approx(0.5 / 3)
    assert score(([[0, 0, 255, 7]], np.array([[0, 0, 1, 9]])), ignore_index=9)['MAE'] == 0


def test_quadrants():
    # The centroid of rows 0 and 3, columns 1 and 2, is (1.5, 1.5), which rounds to 2: three rows and columns above.
    mask = np.zeros((5, 4), bool)
    mask[0, 1] = mask[3, 2] = True
    histogram = joint_histogram(np.zeros((5, 4), np.uint8), mask)
    assert histogram.sum(2).tolist() == [[8, 1], [3, 0], [5, 1], [2, 0]]


def test_heads_of_two_channels():
    logits = torch.tensor([0.0, 2.0])[:, None, None]
    assert gray_prediction(dict(seg_logits=dict(data=logits))).item() == round(255 / (1 + np.exp(-2)))
    with pytest.raises(ValueError, match='has 3 channels, but salient objects need one'):
        gray_prediction(dict(seg_logits=dict(data=torch.zeros(3, 1, 1))))


def test_what_is_no_mask():
    with pytest.raises(ValueError, match=r'holds the ids \[7\], but SODMetric needs 0, 1 and 255'):
        score(([[0, 0]], np.array([[0, 7]])))
    with pytest.raises(ValueError, match=r'holds the ids \[255\], but SODMetric needs 0, 1 and 9'):
        score(([[0, 0]], np.array([[9, 255]])), ignore_index=9)
    with pytest.raises(ValueError, match='all pixels are ignored'):
        score(([[0, 0]], np.array([[255, 255]])))
