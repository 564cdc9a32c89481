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


def measured(**options):
    """Two images in one row. Truth: 0 0 0 1 1 2; prediction: 0 1 0 1 2 2.

    IoU: class 0: 2 / 3; class 1: 1 / 3; class 2: 1 / 2.
    """
    metric = METRICS.build(dict(type='ClassIoUMetric', _scope_='mmseg', iou_metrics=['mIoU', 'mFscore'], **options))
    metric.dataset_meta = dict(classes=('unknown', 'pole', 'rider'))
    truth, prediction = (torch.tensor([row]) for row in ([0, 0, 0, 1, 1, 2], [0, 1, 0, 1, 2, 2]))
    metric.process({}, [dict(pred_sem_seg=dict(data=prediction), gt_sem_seg=dict(data=truth))])
    return metric.evaluate(1)


def test_a_class_left_out_of_the_means():
    stock, left_out = measured(), measured(left_out=['unknown'])
    # The unknown pixel that is called pole still is an error of pole: 1 of 3, not 1 of 2.
    assert left_out['mIoU'] == pytest.approx(100 * (1 / 3 + 1 / 2) / 2, abs=0.01)
    assert left_out['mIoU_all'] == stock['mIoU'] == pytest.approx(50, abs=0.01)
    assert left_out['mAcc'] == pytest.approx(100 * (1 / 2 + 1) / 2, abs=0.01)
    assert left_out['mFscore'] == pytest.approx(100 * (2 / 4 + 2 / 3) / 2, abs=0.01)
    assert left_out['aAcc'] == stock['aAcc']
    assert left_out['IoU.unknown'] == stock['IoU.unknown']


def test_one_class_alone():
    assert measured(left_out=('unknown', 'pole'))['mIoU'] == 50


@pytest.mark.parametrize('left_out', [('void',), ('unknown', 'pole', 'rider')])
def test_what_can_be_left_out(left_out):
    with pytest.raises(ValueError, match='must be some, not all, of the classes'):
        measured(left_out=left_out)
