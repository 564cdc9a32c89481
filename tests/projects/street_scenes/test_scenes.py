"""Scenes repeat, image and label show the same scene, and thin classes are thin."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from projects.street_scenes.painter import CLASSES, IDS, IGNORE, THIN_CLASSES
from projects.street_scenes.run import CONFIGS
from projects.street_scenes.scenes import make_scene, write_scenes


@pytest.fixture(scope='module')
def street():
    """Twenty scenes: images (20, H, W, 3) and labels (20, H, W)."""
    images, labels = zip(*(make_scene((192, 384), np.random.default_rng(i)) for i in range(20)))
    return np.stack(images), np.stack(labels)


def test_labels_are_classes_or_ignored(street):
    assert set(np.unique(street[1])) == {*range(len(CLASSES)), IGNORE}
    assert 0 < (street[1] == IGNORE).mean() < 0.05


@pytest.mark.parametrize('name', CLASSES)
def test_no_class_is_missing_nor_takes_over(street, name):
    assert 0.005 < (street[1] == IDS[name]).mean() < 0.5


@pytest.mark.parametrize('name', THIN_CLASSES)
def test_every_thin_class_is_in_most_scenes_and_rare(street, name):
    share = (street[1] == IDS[name]).mean((1, 2))
    assert (share > 0).mean() >= 0.9
    assert share.mean() < 0.05


def test_poles_are_thin(street):
    """An opening 9 pixels wide leaves next to nothing of poles, which are 4 pixels at most, and most of the road."""
    left = {}
    for name in ('pole', 'road'):
        masks = [(label == IDS[name]).astype(np.uint8) for label in street[1]]
        opened = [cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8)) for mask in masks]
        left[name] = np.sum(opened) / np.sum(masks)
    assert left['pole'] < 0.03
    assert left['road'] > 0.8


@pytest.mark.parametrize('name', THIN_CLASSES)
def test_image_and_label_agree(street, name):
    """Where a thin object's label ends, the image has a stronger edge than 12 pixels to the side."""
    here, aside = [], []
    for image, label in zip(*street):
        mask = label == IDS[name]
        edge = mask[:, 1:] != mask[:, :-1]
        steps = np.abs(np.diff(image.astype(int), axis=1)).sum(-1)
        here.append(steps[edge])
        aside.append(np.roll(steps, 12, axis=1)[edge])
    assert np.concatenate(here).mean() > 2.5 * np.concatenate(aside).mean()


def test_files_repeat_differ_and_are_read_by_the_config(tmp_path, monkeypatch):
    for name in ('a', 'b'):
        write_scenes(tmp_path / name, dict(train=2, val=1), (48, 96))
    a, b = ({p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob('*.png')} for n in ('a', 'b'))
    assert a == b
    assert len(set(a.values())) == 6

    monkeypatch.setenv('STREET_SCENES_ROOT', str(tmp_path / 'a'))
    cfg = Config.fromfile(CONFIGS['DSRL'])
    init_default_scope('mmseg')
    train, val = (DATASETS.build(cfg[f'{split}_dataloader'].dataset) for split in ('train', 'test'))
    assert (len(train), len(val)) == (2, 1)
    assert val.metainfo['classes'] == CLASSES
    written = cv2.imread(str(tmp_path / 'a/labels/val/val_0000.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(val[0]['data_samples'].gt_sem_seg.data[0], written)
    assert set(np.unique(written)) <= {*IDS.values()}
