"""Toy models on disk, as trainings leave them: a config file and a checkpoint."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from toy import NUM_CLASSES, build, model_cfg, spread_weights

CLASSES = tuple('abcde')
PALETTE = [[10 * i, 100, 255 - 10 * i] for i in range(NUM_CLASSES)]
#: Without a change of size, so that a canvas is what the file holds.
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]


def write_model(folder: Path, model: dict | None = None, **cfg) -> tuple[Path, Path]:
    """Write ``toy.py`` and ``toy.pth`` of a segmentor, by default of a DSRL one with all training-only parts."""
    folder.mkdir(parents=True, exist_ok=True)
    model = model or model_cfg()
    Config(dict(model=model, test_pipeline=PIPELINE) | cfg).dump(folder / 'toy.py')
    weights = spread_weights(build(model)).state_dict()
    meta = dict(dataset_meta=dict(classes=CLASSES, palette=PALETTE))
    torch.save(dict(state_dict=weights, meta=meta), folder / 'toy.pth')
    return folder / 'toy.py', folder / 'toy.pth'


def write_pose_model(folder: Path) -> tuple[Path, Path]:
    """Write ``toy_pose.py`` and ``toy.pth`` of a stock pose estimator; the test is skipped without MMPose."""
    pytest.importorskip('mmpose')
    import toy_pose
    from mmpose.datasets.datasets.body import CocoDataset
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    from toy_coco import write_coco, write_coco_config

    config = write_coco_config(folder, write_coco(folder / 'coco'))
    init_default_scope('mmpose')
    weights = toy_pose.build(Config.fromfile(config).model).state_dict()
    meta = dict(dataset_meta=parse_pose_metainfo(CocoDataset.METAINFO))
    torch.save(dict(state_dict=weights, meta=meta), folder / 'toy.pth')
    return config, folder / 'toy.pth'
