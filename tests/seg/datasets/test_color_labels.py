"""Masks painted in colors become ids by a palette."""

import cv2
import numpy as np
import pytest
import toy
from mmengine.config import Config
from mmseg.registry import TRANSFORMS
from PIL import Image
from toy_data import write_camvid

from dsrl_mm.seg import CamVidDataset
from dsrl_mm.seg.checks.data import check_data

ROAD, WATER, TREE = (128, 64, 128), (0, 0, 255), (0, 255, 0)


@pytest.fixture
def mask(tmp_path):
    """Return a function that writes rows of colors to a file, and returns what a data set gives for it."""

    def write(rows, **info):
        path = str(tmp_path / 'mask.png')
        cv2.imwrite(path, np.array(rows, np.uint8)[..., ::-1])
        return dict(seg_map_path=path, seg_fields=[], reduce_zero_label=False, **info)

    return write


def load(info, **options):
    step = TRANSFORMS.build(dict(type='LoadColorAnnotations', **(dict(palette=[ROAD, WATER, TREE]) | options)))
    return step(info)['gt_seg_map']


def test_ids_by_palette(mask):
    ids = load(mask([[TREE, ROAD, WATER], [ROAD, ROAD, TREE]]))
    assert ids.tolist() == [[2, 0, 1], [0, 0, 2]]
    assert ids.dtype == np.uint8


def test_palette_of_a_data_set(mask):
    colors = [(128, 0, 0), (0, 128, 192)]  # Building and Bicyclist of CamVid
    assert load(mask([colors]), palette='CamVidDataset').tolist() == [[1, 10]]


def test_unknown_colors_are_named(mask):
    info = mask([[ROAD, WATER], [(1, 2, 250), (9, 9, 9)]])
    with pytest.raises(
        ValueError, match=r'mask.png: the color \(1, 2, 250\) at row 1, column 0 is of no class \(2 such'
    ):
        load(info)
    with pytest.raises(ValueError, match=r'the nearest is \(0, 0, 255\), class 1'):
        load(info)
    assert load(info, unknown=255).tolist() == [[0, 1], [255, 255]]


def test_other_classes_of_the_data_set(mask):
    # The user keeps tree as class 0 and road as class 1.
    info = mask([[ROAD, WATER, TREE, (9, 9, 9)]], label_map={0: 1, 1: 255, 2: 0})
    assert load(info, unknown=255).tolist() == [[1, 255, 0, 255]]


def test_two_classes_of_one_color():
    with pytest.raises(ValueError, match='one color for two classes'):
        TRANSFORMS.build(dict(type='LoadColorAnnotations', palette=[ROAD, ROAD]))


@pytest.mark.parametrize('name', ['CamVidDatset', 'BaseSegDataset'])
def test_data_sets_without_a_palette(name):
    with pytest.raises(ValueError, match=f"palette='{name}' is no registered data set with a palette"):
        TRANSFORMS.build(dict(type='LoadColorAnnotations', palette=name))


def test_zero_labels(mask):
    with pytest.raises(ValueError, match='reduce_zero_label=True has no meaning for colors'):
        load(mask([[ROAD]]) | dict(reduce_zero_label=True))


def test_a_data_set_of_color_masks_is_checked(tmp_path):
    root = write_camvid(tmp_path, train=2, val=1)
    palette = np.array(CamVidDataset.METAINFO['palette'], np.uint8)
    for path in root.glob('labels/*/*.png'):
        Image.fromarray(palette[np.array(Image.open(path))]).save(path)
    load = [dict(type='LoadImageFromFile'), dict(type='LoadColorAnnotations', palette='CamVidDataset')]
    prefix = dict(img_path='images/train', seg_map_path='labels/train')
    dataset = dict(type='CamVidDataset', data_root=str(root), data_prefix=prefix, pipeline=load)
    model = toy.model_cfg(head=toy.head_cfg('FCNHead', num_classes=len(palette)))
    cfg = Config(dict(model=model, train_dataloader=dict(dataset=dataset)))
    check_data(cfg, ('train',))
    path = root / 'labels/train/train_1.png'
    Image.new('RGB', (64, 48), (1, 1, 1)).save(path)
    with pytest.raises((RuntimeError, ValueError), match=r'train_1.png: the color \(1, 1, 1\)'):
        check_data(cfg, ('train',))


def test_inference_has_no_mask():
    step = TRANSFORMS.build(dict(type='LoadColorAnnotations', palette=[ROAD]))
    assert step(dict(img_path='a.png')) == dict(img_path='a.png')
