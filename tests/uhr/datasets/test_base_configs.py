"""Data base configs of ultra-high-resolution sets, on made-up images in their layouts."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image
from toy import head_cfg, model_cfg

import dsrl_mm.uhr  # noqa: F401  (registers)
from dsrl_mm.seg.checks.data import check_data

BASES = Path(__file__).parents[3] / 'configs/_base_/datasets'
SPLITS = ('train', 'val', 'test')


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.mark.parametrize(
    ('base', 'variable', 'image', 'label', 'classes', 'side', 'crop'),
    [
        ('deepglobe', 'DEEPGLOBE_ROOT', '1_sat.jpg', '1_mask.png', 7, 40, (20, 20)),
        ('inria_aerial', 'INRIA_ROOT', 'austin1.tif', 'austin1.png', 2, 50, (20, 20)),
    ],
)
def test_pipelines(monkeypatch, tmp_path, base, variable, image, label, classes, side, crop):
    rng = np.random.default_rng(0)
    for split in SPLITS:
        save(rng.integers(256, size=(side, side, 3)), tmp_path / 'images' / split / image)
        save(rng.integers(classes, size=(side, side)), tmp_path / 'labels' / split / label)
    monkeypatch.setenv(variable, str(tmp_path))
    cfg = Config.fromfile(BASES / f'{base}.py')
    next(step for step in cfg.train_pipeline if step.type == 'RandomCrop').crop_size = crop
    cfg.train_dataloader.dataset.pipeline = cfg.train_pipeline
    cfg.model = model_cfg(head=head_cfg('FCNHead', num_classes=classes))
    check_data(cfg, SPLITS)  # what the commands do first
    init_default_scope('mmseg')
    for split in SPLITS:
        (sample,) = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        size = crop if split == 'train' else (side, side)
        assert sample['inputs'].shape[1:] == sample['data_samples'].gt_sem_seg.shape == size
    assert cfg.test_evaluator.left_out[0] == DATASETS.get(cfg.dataset.type).METAINFO['classes'][0]


def test_saliency_is_checked(tmp_path):
    """As any data set whose config has data_prefix."""
    mask = np.zeros((6, 8))
    mask[2:, 3:] = 200
    for split in SPLITS:
        save(np.zeros((6, 8, 3)), tmp_path / split / 'image/a.jpg')
        save(mask, tmp_path / split / 'mask/a.png')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadMask'), dict(type='PackSegInputs')]
    prefix = dict(img_path='image', seg_map_path='mask')
    dataset = dict(type='SaliencyDataset', data_root=str(tmp_path), data_prefix=prefix, pipeline=pipeline)
    loaders = {f'{split}_dataloader': dict(dataset=dict(dataset, roots=[split])) for split in SPLITS}
    cfg = Config(dict(loaders, model=model_cfg(head=head_cfg('FCNHead', num_classes=2))))
    check_data(cfg, SPLITS)
    save(np.ones((6, 8)), tmp_path / 'val/mask/a.png')  # class ids
    with pytest.raises((RuntimeError, ValueError), match='val/mask/a.png holds values 0 and 1'):
        check_data(cfg, SPLITS)
