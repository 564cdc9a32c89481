"""The CamVid data set: its classes and folder layout, on made-up files and on the real ones."""

import os
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

CLASSES = [
    'Sky',
    'Building',
    'Pole',
    'Road',
    'Pavement',
    'Tree',
    'SignSymbol',
    'Fence',
    'Car',
    'Pedestrian',
    'Bicyclist',
]
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


def build(root: str | Path, split: str):
    prefix = dict(img_path=f'images/{split}', seg_map_path=f'labels/{split}')
    return DATASETS.build(dict(type='CamVidDataset', data_root=str(root), data_prefix=prefix, pipeline=PIPELINE))


@pytest.fixture
def root(tmp_path):
    """Two train frames and one val frame; their labels hold every id, void among them."""
    for split, name in (('train', 'a'), ('train', 'b'), ('val', 'c')):
        for kind, pixels in (
            ('images', np.full((3, 4, 3), ord(name))),
            ('labels', [[*range(4)], [*range(4, 8)], [8, 9, 10, 255]]),
        ):
            (tmp_path / kind / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.array(pixels, dtype=np.uint8)).save(tmp_path / kind / split / f'{name}.png')
    (tmp_path / 'images/train/a.png.partial').touch()  # of a conversion that was killed
    return tmp_path


def test_classes_and_palette(root):
    meta = build(root, 'train').metainfo
    assert list(meta['classes']) == CLASSES
    assert len(meta['palette']) == 11
    assert len({tuple(color) for color in meta['palette']}) == 11
    assert all(len(color) == 3 and 0 <= min(color) <= max(color) <= 255 for color in meta['palette'])


def test_layout(root):
    for split, names in (('train', ['a', 'b']), ('val', ['c'])):
        dataset = build(root, split)
        pairs = [(info['img_path'], info['seg_map_path']) for info in map(dataset.get_data_info, range(len(dataset)))]
        assert pairs == [(f'{root}/images/{split}/{name}.png', f'{root}/labels/{split}/{name}.png') for name in names]


def test_ids_are_read_as_written(root):
    sample = build(root, 'val')[0]
    # 0 stays the sky and 255 void: nothing is shifted by one.
    np.testing.assert_array_equal(sample['gt_seg_map'], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 255]])
    assert (sample['img'] == ord('c')).all()
    assert build(root, 'val').ignore_index == 255


@pytest.mark.needs('CAMVID_ROOT')
@pytest.mark.parametrize(('split', 'count'), [('train', 367), ('val', 101)])
def test_real_frames_and_labels(split, count):
    dataset = build(os.environ['CAMVID_ROOT'], split)
    assert len(dataset) == count
    heights = {name: [] for name in CLASSES}
    for i in range(0, count, 20):
        sample = dataset[i]
        label = sample['gt_seg_map']
        assert label.shape == sample['img'].shape[:2]
        assert set(np.unique(label)) <= {*range(11), 255}
        for j, name in enumerate(CLASSES):
            heights[name] += (np.nonzero(label == j)[0] / len(label)).tolist()
    mean = {name: np.mean(rows) for name, rows in heights.items()}  # 0: top, 1: bottom
    assert min(mean, key=mean.get) == 'Sky'
    assert max(mean, key=mean.get) == 'Road'
    assert mean['Building'] < mean['Car'] < mean['Road']


@pytest.mark.needs('CAMVID_ROOT')
def test_class_weights_are_those_of_the_training_labels():
    dataset = build(os.environ['CAMVID_ROOT'], 'train')
    pixels = np.zeros(256, int)
    for info in map(dataset.get_data_info, range(len(dataset))):
        with Image.open(info['seg_map_path']) as label:
            pixels += np.bincount(np.asarray(label).ravel(), minlength=256)
    share = pixels[:11] / pixels[:11].sum()
    weights = 1 / np.log(1.10 + share)
    np.testing.assert_allclose(dataset.metainfo['class_weights'], weights / (weights * share).sum(), atol=0.006)
