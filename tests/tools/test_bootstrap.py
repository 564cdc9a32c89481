"""Intervals of gains over blocks of images, by hand; and the command on toy data."""

import re

import numpy as np
import pytest
import torch
import toy
import toy_data
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from dsrl_mm.seg.metrics.boundary import boundary_counts
from tools.analysis_tools.bootstrap import _all_counts, intervals, main, scores

#: Prediction and truth of 4x1 pixels, of which the last is ignored.
EDGES = np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 7]])


def counts(right: list[int]) -> np.ndarray:
    """Counts of images with 100 pixels of one class, of which some are right, and with a boundary all found."""
    return np.array([[[pixels, 100, 10, 10, 10, 10, 1, 1]] for pixels in right])


def test_a_gain_in_one_of_two_blocks():
    first, second = counts([80, 80, 60]), counts([50, 50, 60])  # blocks of two images and of one
    found = intervals([first], [second], block=2)
    # Both blocks once: 220 - 160 of 300 pixels. The first twice: 30 of 100; the second twice: nothing.
    assert found['mIoU'] == pytest.approx((20, 0, 30))
    assert found['mBF'] == (0, 0, 0)
    assert intervals([first, second], [second], block=2)['mIoU'] == pytest.approx((10, 0, 15))  # the mean over runs


def test_more_images_narrow_the_interval():
    rng = np.random.default_rng(1)
    right = [rng.integers(50, 90, number) for number in (10, 1000)]
    few, many = (intervals([counts(each)], [counts([60] * len(each))], block=1)['mIoU'] for each in right)
    assert [few[0], many[0]] == pytest.approx([each.mean() - 60 for each in right])
    # Of the mean of 1000 draws between 50 and 89, whose standard deviation is 11.5.
    assert many[2] - many[1] == pytest.approx(2 * 1.96 * 11.5 / 1000**0.5, rel=0.1)
    assert few[2] - few[1] > 5 * (many[2] - many[1])


def test_a_class_that_is_nowhere_does_not_count():
    nowhere = np.concatenate([counts([80]), np.zeros((1, 1, 8), int)], 1)
    assert scores(nowhere.sum(0))['mIoU'] == 80


class Labels(list):
    metainfo = dict(classes=('a', 'b'))


@pytest.mark.parametrize(('reduced', 'root'), [(False, '/images'), (True, '/images'), (False, None)])
def test_pixels_that_are_ignored_and_ids_that_were_reduced(tmp_path, reduced, root):
    """Truth: 0 0 1 ignored; prediction: 0 1 1 1. Intersections 1 and 1, unions 2 and 2."""
    prediction, truth = EDGES
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(truth)[None]))
    sample.set_metainfo(dict(img_path='/images/x.jpg', reduce_zero_label=reduced))
    Image.fromarray((prediction + reduced).astype(np.uint8)).save(tmp_path / 'x.png')
    (found,) = _all_counts(Labels([dict(data_samples=sample)]), root, tmp_path, 7)
    assert found[:, :2].tolist() == [[1, 2], [1, 2]]
    assert found[:, 2:].tolist() == boundary_counts(prediction, truth, 2, 0.0075 * 17**0.5, 7).tolist()


@pytest.fixture
def masks(tmp_path):
    """A config, and a folder with the labels themselves as masks."""
    config = toy_data.write_config(tmp_path, toy_data.write_camvid(tmp_path), crop_size=toy.SIZE)
    for kind in ('images', 'labels', 'masks'):  # as tools/test.py --out, masks keep the sub-folders of the images
        (tmp_path / kind / 'val/town').mkdir(parents=True)
    for kind in ('images', 'labels'):
        (tmp_path / kind / 'val/val_0.png').rename(tmp_path / kind / 'val/town/val_0.png')
    for sample in DATASETS.build(Config.fromfile(config).test_dataloader.dataset):
        sample = sample['data_samples']
        label = sample.gt_sem_seg.data[0].numpy().astype(np.uint8)
        Image.fromarray(label).save(sample.img_path.replace('/images/', '/masks/'))
    return str(config), tmp_path / 'masks/val'


def test_command(masks, tmp_path, capsys):
    """The labels themselves over a mask of one class, a part of whose pixels is void, where any mask is right."""
    config, folder = masks
    labels = {file: np.array(Image.open(file)) for file in (tmp_path / 'labels/val').rglob('*.png')}
    for file, label in labels.items():
        label[:8] = 255
        Image.fromarray(label).save(file)
        constant = tmp_path / 'constant' / file.relative_to(tmp_path / 'labels/val')
        constant.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros_like(label)).save(constant)
    pixels = np.concatenate([label[8:].flatten() for label in labels.values()])
    gain = 100 - 100 * (pixels == 0).mean() / len(np.unique(pixels))

    def printed(*options: str) -> list[float]:
        main([config, str(folder), '--over', str(tmp_path / 'constant'), *options])
        (row,) = [line for line in capsys.readouterr().out.splitlines() if 'mIoU' in line]
        return [float(number) for number in re.findall(r'[+-][\d.]+', row)]

    assert printed('--block', '5') == pytest.approx([gain] * 3, abs=0.006)  # all images in one block
    found, low, high = printed()
    assert found == pytest.approx(gain, abs=0.006) and low < found < high


def test_masks_of_other_data_are_refused(masks):
    config, folder = masks
    file = folder / 'town/val_0.png'
    Image.open(file).resize((8, 4)).save(file)
    with pytest.raises(ValueError, match=f'{file} is 8x4, its label '):
        main([config, str(folder), '--over', str(folder)])
    file.unlink()
    with pytest.raises(FileNotFoundError, match=f'{file} is missing. Write the masks'):
        main([config, str(folder), '--over', str(folder)])
