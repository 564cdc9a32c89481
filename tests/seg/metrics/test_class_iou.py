"""IoU of every class against a confusion worked out by hand."""

import math

import pytest
import torch
from mmengine.registry import METRICS

import dsrl_mm.seg  # noqa: F401  (registers)


def test_classes_by_hand():
    # Truth:      0 0 1 1 ignored; prediction: 0 1 1 1 1. Class 2 is nowhere.
    # IoU: class 0: 1 / 2; class 1: 2 / 3. The ignored pixel does not count.
    metric = METRICS.build(dict(type='ClassIoUMetric', _scope_='mmseg'))
    metric.dataset_meta = dict(classes=('road', 'pole', 'rider'))
    truth, prediction = (torch.tensor([row]) for row in ([0, 0, 1, 1, 255], [0, 1, 1, 1, 1]))
    metric.process({}, [dict(pred_sem_seg=dict(data=prediction), gt_sem_seg=dict(data=truth))])
    results = metric.evaluate(1)
    assert results['IoU.road'] == pytest.approx(50)
    assert results['IoU.pole'] == pytest.approx(200 / 3)
    assert math.isnan(results['IoU.rider'])
    # The stock mean leaves the absent class out, and is rounded to two digits.
    assert results['mIoU'] == pytest.approx((50 + 200 / 3) / 2, abs=0.01)
