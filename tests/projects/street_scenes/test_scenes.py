"""Pictures are hard to test: what can be relied on is that they repeat, and that image and label are of one scene."""

import json

import cv2
import numpy as np
import pytest

import projects.street_scenes.scenes as scenes
from projects.street_scenes.dataset import StreetSceneDataset
from projects.street_scenes.scenes import CLASSES, IGNORE, THIN_CLASSES, make_scene, write_scenes

SIZE = (192, 384)
ID = {name: i for i, name in enumerate(CLASSES)}
SMALL = dict(splits=dict(train=2, val=1), size=(48, 96))


@pytest.fixture(scope='module')
def street():
    """Twenty scenes: images (20, H, W, 3) and labels (20, H, W)."""
    images, labels = zip(*(make_scene(SIZE, np.random.default_rng(i)) for i in range(20)))
    return np.stack(images), np.stack(labels)


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob('*') if path.is_file()}


def test_sizes_and_ids(street):
    images, labels = street
    assert images.shape == (20, *SIZE, 3)
    assert labels.shape == (20, *SIZE)
    assert images.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == {*range(len(CLASSES)), IGNORE}
    assert 0 < (labels == IGNORE).mean() < 0.05


@pytest.mark.parametrize('size', [(37, 91), (101, 64), (5, 7)])
def test_odd_sizes(size):
    image, label = make_scene(size, np.random.default_rng(0))
    assert image.shape == (*size, 3)
    assert label.shape == size


@pytest.mark.parametrize('name', THIN_CLASSES)
def test_every_thin_class_is_in_most_scenes_and_has_its_share(street, name):
    share = (street[1] == ID[name]).mean((1, 2))
    assert (share > 0).mean() >= 0.9
    # Measured over 200 scenes: poles 3.3 %, signs 2.2 %, riders 2.3 %.
    assert 0.005 < share.mean() < 0.05


@pytest.mark.parametrize('name', CLASSES)
def test_no_class_is_missing_nor_takes_over(street, name):
    assert 0.005 < (street[1] == ID[name]).mean() < 0.5


def test_poles_are_thin(street):
    """An opening 9 pixels wide leaves next to nothing of poles, which are 4 pixels at most, and most of the road."""
    left = {}
    for name in ('pole', 'road'):
        masks = [(label == ID[name]).astype(np.uint8) for label in street[1]]
        opened = [cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8)) for mask in masks]
        left[name] = np.sum(opened) / np.sum(masks)
    assert left['pole'] < 0.03
    assert left['road'] > 0.8


@pytest.mark.parametrize('name', THIN_CLASSES)
def test_image_and_label_agree(street, name):
    """Where a thin object's label ends, the image has an edge: a stronger one than 12 pixels to the side."""
    here, aside = [], []
    for image, label in zip(*street):
        mask = label == ID[name]
        edge = mask[:, 1:] != mask[:, :-1]
        steps = np.abs(np.diff(image.astype(int), axis=1)).sum(-1)
        here.append(steps[edge])
        aside.append(np.roll(steps, 12, axis=1)[edge])
    assert np.concatenate(here).mean() > 2.5 * np.concatenate(aside).mean()


def test_signs_are_more_colourful_than_what_surrounds_them(street):
    def saturation(masks):
        return np.mean(
            [cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 1][mask].mean() for image, mask in zip(street[0], masks)]
        )

    signs = [label == ID['sign'] for label in street[1]]
    wider = [cv2.dilate(mask.astype(np.uint8), np.ones((15, 15))).astype(bool) for mask in signs]
    assert saturation(signs) > 1.4 * saturation([around & ~mask for around, mask in zip(wider, signs)])


def test_two_writings_are_equal_byte_for_byte(tmp_path):
    write_scenes(tmp_path / 'a', **SMALL)
    write_scenes(tmp_path / 'b', **SMALL)
    written = files(tmp_path / 'a')
    assert written == files(tmp_path / 'b')
    names = [
        f'{kind}/{name}.png'
        for kind in ('images', 'labels')
        for name in ('train/train_0000', 'train/train_0001', 'val/val_0000')
    ]
    assert sorted(written) == sorted([*names, 'scenes.json'])
    assert len({written[name] for name in names}) == 6


def test_a_scene_depends_on_seed_split_and_index_alone(tmp_path):
    for name, options in dict(
        few=dict(SMALL), many=dict(SMALL, splits=dict(val=1, test=1, train=4)), other=dict(SMALL, seed=1)
    ).items():
        write_scenes(tmp_path / name, **options)
    few, many, other = (files(tmp_path / name) for name in ('few', 'many', 'other'))
    pictures = [name for name in few if name.endswith('.png')]
    assert all(few[name] == many[name] for name in pictures)
    assert all(few[name] != other[name] for name in pictures)


def test_the_files_hold_the_scene(tmp_path):
    write_scenes(tmp_path / 'data', splits=dict(val=1), size=(48, 96), seed=3)
    label = cv2.imread(str(tmp_path / 'data/labels/val/val_0000.png'), cv2.IMREAD_UNCHANGED)
    assert label.shape == (48, 96)  # ids, not colours
    image = cv2.imread(str(tmp_path / 'data/images/val/val_0000.png'), cv2.IMREAD_UNCHANGED)
    assert image.shape == (48, 96, 3)
    assert set(np.unique(label)) <= {*ID.values(), IGNORE}


def test_what_is_there_is_not_written_again(tmp_path, monkeypatch):
    write_scenes(tmp_path / 'data', **SMALL)
    monkeypatch.setattr(scenes, 'make_scene', lambda *_: pytest.fail('painted again'))
    write_scenes(tmp_path / 'data', **SMALL)


def test_other_parameters_replace_what_was_there(tmp_path):
    write_scenes(tmp_path / 'data', **SMALL)
    write_scenes(tmp_path / 'data', splits=dict(val=1), size=(48, 96), seed=5)
    written = files(tmp_path / 'data')
    assert sorted(written) == ['images/val/val_0000.png', 'labels/val/val_0000.png', 'scenes.json']
    assert json.loads(written['scenes.json'])['seed'] == 5
    assert list(tmp_path.iterdir()) == [tmp_path / 'data']


@pytest.mark.parametrize('before', [False, True])
def test_an_interrupted_write_leaves_no_half(tmp_path, monkeypatch, before):
    if before:
        write_scenes(tmp_path / 'data', **SMALL)
    written = files(tmp_path)
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return make_scene(*arguments)

    monkeypatch.setattr(scenes, 'make_scene', interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / 'data', **SMALL, seed=1)
    assert files(tmp_path) == written
    assert (tmp_path / 'data').exists() == before


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('mine')
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        write_scenes(tmp_path, **SMALL)
    assert (tmp_path / 'thesis.txt').read_text() == 'mine'


def test_mmsegmentation_reads_them(tmp_path):
    write_scenes(tmp_path / 'data', **SMALL)
    dataset = StreetSceneDataset(
        data_root=str(tmp_path / 'data'),
        data_prefix=dict(img_path='images/train', seg_map_path='labels/train'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')],
    )
    assert len(dataset) == 2
    written = cv2.imread(str(tmp_path / 'data/labels/train/train_0001.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(dataset[1]['gt_seg_map'], written)
    assert dataset.metainfo['classes'] == tuple(CLASSES)
    assert dataset.metainfo['palette'] == [list(colour) for colour in CLASSES.values()]
