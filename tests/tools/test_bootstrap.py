"""Intervals of gains over blocks of images, by hand; and the command on toy data."""

import numpy as np
import pytest
import toy
import toy_data
from mmengine.config import Config
from mmengine.registry import DATASETS
from PIL import Image

from tools.analysis_tools.bootstrap import intervals, main, scores


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
    few, many = (
        intervals([counts(rng.integers(50, 90, number))], [counts([60] * number)], block=1)['mIoU']
        for number in (10, 1000)
    )
    # Of the mean of 1000 draws between 50 and 89, whose standard deviation is 11.5.
    assert many[2] - many[1] == pytest.approx(2 * 1.96 * 11.5 / 1000**0.5, rel=0.1)
    assert few[2] - few[1] > 5 * (many[2] - many[1])


def test_a_class_that_is_nowhere_does_not_count():
    nowhere = np.concatenate([counts([80]), np.zeros((1, 1, 8), int)], 1)
    assert scores(nowhere.sum(0))['mIoU'] == 80


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


def test_command(masks, capsys):
    config, folder = masks
    main([config, str(folder), '--over', str(folder)])
    assert '| mIoU | +0.00 (+0.00 to +0.00) |' in ' '.join(capsys.readouterr().out.split()).replace('  ', ' ')


def test_masks_of_other_data_are_refused(masks):
    config, folder = masks
    file = folder / 'town/val_0.png'
    Image.open(file).resize((8, 4)).save(file)
    with pytest.raises(ValueError, match=f'{file} is 8x4, its label '):
        main([config, str(folder), '--over', str(folder)])
    file.unlink()
    with pytest.raises(FileNotFoundError, match=f'{file} is missing. Write the masks'):
        main([config, str(folder), '--over', str(folder)])
