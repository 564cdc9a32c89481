"""Every shipped config of PGNet, built and trained for one step on small images."""

import re
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmseg.registry import DATASETS, MODELS
from toy import batch, build_pipelines, losses

import dsrl_mm.uhr  # noqa: F401  (registers)
from dsrl_mm.engine.config import read_config
from dsrl_mm.engine.loading import without_pretrained

ROOT = Path(__file__).parents[3] / 'configs'
CONFIGS = sorted(path.stem for path in (ROOT / 'pgnet').glob('*.py'))
CANVAS = (64, 96)
#: Configs by network: those of Swin-B differ in the training data.
MODELS_OF = {name: list(names) for name, names in groupby(CONFIGS, lambda name: re.sub('(swin-.)_.*', r'\1', name))}


@cache
def load(name: str) -> Config:
    """A shipped config, to read only."""
    return read_config(ROOT / 'pgnet' / f'{name}.py')


def build(model: dict) -> torch.nn.Module:
    """The model of a config, for images of :data:`CANVAS`, with a shallow transformer: a deep one takes seconds."""
    model = without_pretrained(model)
    model.data_preprocessor.sizes = [CANVAS]
    model.backbone.transformer.update(depths=(1, 1, 2), drop_path_rate=0.0)  # a dropped path has no gradient
    model.backbone.transformer_size = 64
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(model))
    model.init_weights()
    return model


def test_how_many_configs_are_shipped():
    assert (len(CONFIGS), len(MODELS_OF)) == (6, 4)


@pytest.mark.parametrize('names', [names for names in MODELS_OF.values() if len(names) > 1], ids=lambda names: names[0])
def test_configs_of_one_network_differ_in_the_training_data_alone(names):
    first, *others = (load(name).to_dict() for name in names)
    for other in others:
        assert other['train_dataloader']['dataset'].pop('roots') != first['train_dataloader']['dataset'].get('roots')
        assert other['train_dataloader']['dataset'].pop('repeats').count(5) == 1
        assert other == first | dict(train_dataloader=_without_roots(first['train_dataloader']))


def _without_roots(loader: dict) -> dict:
    dataset = {key: value for key, value in loader['dataset'].items() if key != 'roots'}
    return dict(loader, dataset=dataset)


@pytest.mark.parametrize('name', [names[0] for names in MODELS_OF.values()])
def test_training_step_reaches_every_parameter_and_predicts(name):
    cfg = load(name)
    model = build(cfg.model)
    for parameter in model.parameters():
        if not parameter.any():  # what starts at zero passes no gradient on at the first step
            torch.nn.init.normal_(parameter, std=0.1)
    wrapper = build_optim_wrapper(model, dict(cfg.optim_wrapper, type=OptimWrapper))
    optimized = {id(p) for group in wrapper.param_groups for p in group['params']}
    logs = losses(model, batch(CANVAS, classes=2))
    assert set(logs) == {
        'decode.loss_bce_iou',
        'aux.loss_bce_iou_cnn',
        'aux.loss_bce_iou_transformer',
        'aux.loss_attention',
    }
    sum(logs.values()).backward()
    for key, parameter in model.named_parameters():
        assert id(parameter) in optimized, key
        assert parameter.grad is not None and parameter.grad.any(), key
    model.eval()
    assert model.val_step(batch(CANVAS, n=1))[0].seg_logits.data.shape == (1, *CANVAS)


@pytest.mark.parametrize('name', CONFIGS)
def test_pipelines_are_built(name):
    build_pipelines(load(name))


def test_masks_of_coco_need_not_lie_beside_its_images(monkeypatch):
    for name in ('COCO_ROOT', 'COCO_MASKS'):
        monkeypatch.delenv(name, raising=False)
    cfg = read_config(ROOT / 'pgnet' / 'pgnet_tiny_coco_person_masks.py')
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, pipeline=[], lazy_init=True))
    assert dataset.data_prefix == dict(img_path='data/coco/images', seg_map_path='data/coco_masks/masks')
    assert dataset.ann_file == 'data/coco_masks/train.txt'


def sgd_32e() -> Config:
    return Config.fromfile(ROOT / '_base_' / 'schedules' / 'sgd_pgnet_32e.py')


def test_the_schedule_is_the_authors_with_halved_gradients():
    """Their optimizer on half of a gradient steps as the config's on the whole."""
    theirs, ours = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    cfg = sgd_32e().optim_wrapper.optimizer.to_dict()
    assert cfg.pop('type') == 'SGD'
    ours_sgd = torch.optim.SGD([ours], **cfg)
    theirs_sgd = torch.optim.SGD([theirs], lr=0.03, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for step in range(5):
        gradient = torch.tensor([step + 1.0, 0.5])
        ours.grad, theirs.grad = gradient, gradient / 2
        ours_sgd.step(), theirs_sgd.step()
        torch.testing.assert_close(ours, theirs)


def test_the_transformer_learns_ten_times_slower():
    model = build(Config.fromfile(ROOT / '_base_' / 'models' / 'pgnet_swin-t.py').model)
    wrapper = build_optim_wrapper(model, dict(sgd_32e().optim_wrapper, type=OptimWrapper))
    rates = {id(p): group['lr'] for group in wrapper.param_groups for p in group['params']}
    for name, parameter in model.named_parameters():
        expected = 0.0015 if name.startswith('backbone.transformer.') else 0.015
        assert rates[id(parameter)] == pytest.approx(expected), name
