"""PointRend, a rival of ISDNet that MMSegmentation has: its configs are built and trained for a step."""

from pathlib import Path

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import DATASETS, MODELS
from toy import batch, build_pipelines, losses
from toy_data import call, logged, write_camvid

import dsrl_mm.uhr  # noqa: F401  (registers)
from dsrl_mm import cli
from dsrl_mm.engine.config import read_config
from dsrl_mm.engine.loading import without_pretrained

ROOT = Path(__file__).parents[2] / 'configs'
CAMVID = 'pointrend_r18_narrow_camvid'
CANVAS = (64, 96)


def load(name: str):
    return read_config(ROOT / 'pointrend' / f'{name}.py')


@pytest.mark.parametrize('name', [CAMVID, 'pointrend_r18_cityscapes'])
def test_training_step_reaches_every_parameter_and_predicts(name):
    cfg = load(name)
    classes = len(DATASETS.get(cfg.train_dataloader.dataset.type).METAINFO['classes'])
    model = without_pretrained(cfg.model)
    model.data_preprocessor.size = CANVAS
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(model))
    logs = losses(model, batch(CANVAS, classes=classes))
    assert {key for key in logs if 'loss' in key} == {'decode_0.loss_ce', 'decode_1.pointloss_ce'}
    sum(value for key, value in logs.items() if 'loss' in key).backward()
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    result = model.eval().val_step(batch(CANVAS, n=1))[0]
    assert result.seg_logits.data.shape == (classes, *CANVAS)
    build_pipelines(cfg)


def test_differs_from_the_rows_it_is_compared_with_in_the_model_alone():
    cfg, other = load(CAMVID), read_config(ROOT / 'isdnet/isdnet_r18_narrow_camvid.py')
    for key in (set(cfg) | set(other)) - {'model', 'norm_cfg', 'loss_decode'}:
        assert cfg[key] == other[key], key


def test_trains_through_the_tool(tmp_path):
    """On the canvas of the config, with its augmentations and the checks before training."""
    data = write_camvid(tmp_path / 'camvid', train=2, val=1)
    options = ['train_cfg.max_iters=1', 'train_dataloader.batch_size=2', 'default_hooks.logger.interval=1']
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options += [f'{loader}.dataset.data_root={data}', f'{loader}.num_workers=0']
        options += [f'{loader}.persistent_workers=False']
    config = ROOT / 'pointrend' / f'{CAMVID}.py'
    call(cli.train, config, '--work-dir', tmp_path / 'work', '--cfg-options', *options)
    (entry,) = (entry for entry in logged(tmp_path / 'work') if 'loss' in entry)
    assert entry['loss'] == pytest.approx(entry['decode_0.loss_ce'] + entry['decode_1.pointloss_ce'], rel=1e-4)
