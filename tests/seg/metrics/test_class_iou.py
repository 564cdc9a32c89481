"""IoU of every class against a confusion worked out by hand."""

import math

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from PIL import Image

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

    IoU: class 0: 2 / 3; class 1: 1 / 3; class 2: 1 / 2. Class 3 is nowhere, and in no mean.
    """
    metric = METRICS.build(dict(type='ClassIoUMetric', _scope_='mmseg', iou_metrics=['mIoU', 'mFscore'], **options))
    metric.dataset_meta = dict(classes=('unknown', 'pole', 'rider', 'none'))
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


def test_the_log_says_what_the_means_leave_out(capfd):
    MMLogger.get_instance('left_out', logger_name='left_out')
    measured(left_out=['unknown', 'none'])
    assert 'Left out of the means, but not of those that end in _all: unknown, none' in ''.join(capfd.readouterr())


def test_one_class_alone():
    assert measured(left_out=('unknown', 'pole'))['mIoU'] == 50


@pytest.mark.parametrize('left_out', [('void',), ('unknown', 'pole', 'rider', 'none')])
def test_what_can_be_left_out(left_out):
    metric = METRICS.build(dict(type='ClassIoUMetric', _scope_='mmseg', left_out=left_out))
    metric.dataset_meta = dict(classes=('unknown', 'pole', 'rider', 'none'))
    with pytest.raises(ValueError, match='must be some, not all, of the classes'):
        metric.process({}, [])  # before anything is measured


def test_masks_keep_the_folders_of_their_images(tmp_path):
    options = dict(image_root='/data/images', output_dir=str(tmp_path), format_only=True)
    metric = METRICS.build(dict(type='ClassIoUMetric', _scope_='mmseg', **options))
    metric.dataset_meta = dict(classes=('all',))
    for name in ('images/a/x', 'images/b/x', 'images/y', 'other/z'):
        mask = torch.full((1, 2, 3), ord(name[-1]))
        metric.process({}, [dict(pred_sem_seg=dict(data=mask), img_path=f'/data/{name}.png')])
    found = {file.relative_to(tmp_path).as_posix(): np.asarray(Image.open(file)) for file in tmp_path.rglob('*.png')}
    assert sorted(found) == ['a/x.png', 'b/x.png', 'other/z.png', 'y.png']
    assert all((mask == ord(name[-5])).all() for name, mask in found.items())
    assert metric.evaluate(4) == {}


def test_the_root_of_the_images_alone_writes_nothing():
    assert measured(image_root='/data/images') == pytest.approx(measured(), nan_ok=True)
