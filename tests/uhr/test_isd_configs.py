"""Every shipped config of ISDNet and of its rivals, built and trained for one step on a small canvas."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmseg.registry import DATASETS, MODELS
from torch.utils.flop_counter import FlopCounterMode
from toy import batch, build_pipelines, losses, shrink

import dsrl_mm.uhr  # noqa: F401  (registers)
from dsrl_mm.cli import training_config
from dsrl_mm.engine.complexity import measure_complexity
from dsrl_mm.engine.config import read_config
from dsrl_mm.engine.loading import without_pretrained
from dsrl_mm.seg.conversion import build_for_shapes

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(path.stem for path in (ROOT / 'isdnet').glob('*.py'))
#: That of isdnet_r18_cityscapes.
OF_ONE_NETWORK = ('isdnet_r18_deepglobe', 'isdnet_r18_inria_aerial')
GUIDE = (ROOT.parent / 'docs/user_guides/isdnet.md').read_text()
CANVAS = (128, 160)  # the least for SegFormer
ISD_LOSSES = {f'{name}.loss_ce' for name in ('deep', 'deep_16', 'deep_8')} | {'sr.loss_sisr', 'sr.loss_structure'}


@cache
def load(name: str) -> Config:
    """A shipped config, to read only."""
    return read_config(ROOT / 'isdnet' / f'{name}.py')


def is_isd(cfg: Config) -> bool:
    return cfg.model.type == 'ISDSegmentor'


def build(model: dict) -> torch.nn.Module:
    model = without_pretrained(model)
    model.data_preprocessor.size = CANVAS
    model.data_preprocessor.pop('test_cfg', None)
    shrink(model.backbone)
    if 'drop_path_rate' in model.backbone:
        model.backbone.drop_path_rate = 0.0  # which may drop a block for a whole batch
    torch.manual_seed(0)
    model = revert_sync_batchnorm(MODELS.build(model))
    model.init_weights()
    return model


def test_how_many_configs_are_shipped():
    assert (len(CONFIGS), sum(is_isd(load(name)) for name in CONFIGS)) == (16, 9)


def test_configs_of_one_network_differ_in_the_number_of_classes_alone():
    first, *others = (
        re.sub(r"'num_classes': \d+", '', str(dict(load(name).model, data_preprocessor=None)))
        for name in ('isdnet_r18_cityscapes', *OF_ONE_NETWORK)
    )
    assert others == [first] * 2


@pytest.mark.parametrize('name', [name for name in CONFIGS if name not in OF_ONE_NETWORK])
def test_training_step_reaches_every_parameter_and_predicts(name):
    cfg = load(name)
    model = build(cfg.model)
    for parameter in model.parameters():
        if not parameter.any():  # what starts at zero passes no gradient on at the first step
            torch.nn.init.normal_(parameter, std=0.1)
    classes = model.num_classes
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    optimized = {id(p) for group in wrapper.param_groups for p in group['params']}
    logs = losses(model, batch(CANVAS, classes=classes))
    expected = {'decode.loss_ce'} | (ISD_LOSSES if is_isd(cfg) else set())
    if is_isd(cfg) and 'sr' not in cfg.model.sr_aux:
        expected -= {'sr.loss_sisr', 'sr.loss_structure'}
    expected |= {'aux.loss_ce'} if model.with_auxiliary_head else set()
    assert {key for key in logs if 'loss' in key} == expected
    sum(value for key, value in logs.items() if 'loss' in key).backward()
    for key, parameter in model.named_parameters():
        assert id(parameter) in optimized, key
        assert parameter.grad is not None and parameter.grad.any(), key
    result = model.eval().val_step(batch(CANVAS, n=1))[0]
    assert result.seg_logits.data.shape == (classes, *CANVAS)


@pytest.mark.parametrize('name', CONFIGS)
def test_pipelines_are_built(name):
    build_pipelines(load(name))


@pytest.mark.parametrize('name', [name for name in CONFIGS if '_narrow_' in name])
def test_rows_of_one_data_set_differ_in_the_model_alone(name):
    rival = 'deeplabv3_r18_narrow_camvid' if 'camvid' in name else 'deeplabv3_r18_narrow_cwfid_quarter'
    cfg, other = load(name), load(rival)
    for key in (set(cfg) | set(other)) - {'model', 'norm_cfg', 'loss_decode'}:
        assert cfg[key] == other[key], key


def test_classes_are_those_of_the_data_set():
    for name in CONFIGS:
        cfg = load(name)
        dataset = cfg.train_dataloader.dataset
        classes = dataset.get('metainfo', {}).get('classes') or DATASETS.get(dataset.type).METAINFO['classes']
        heads = [cfg.model.decode_head, cfg.model.get('auxiliary_head')]
        heads += [heads[0].decode_head] if is_isd(cfg) else []
        assert {head.num_classes for head in heads if head and 'num_classes' in head} == {len(classes)}, name


@pytest.mark.parametrize(
    ('name', 'gflops'),
    [
        ('deeplabv3_r18_narrow_camvid', 19.77),
        ('deeplabv3_r18_narrow_camvid_half', 5.04),
        ('deeplabv3_r18_narrow_camvid_quarter', 1.31),
        ('isdnet_r18_narrow_camvid_half', 7.34),
        ('isdnet_r18_narrow_camvid', 3.67),
        ('stdc_shallow_narrow_camvid', 2.31),
        ('isdnet_efficientnet_lite0_camvid', 2.77),
    ],
)
def test_operations_of_the_camvid_rows(name, gflops):
    with torch.device('meta'):
        model = revert_sync_batchnorm(MODELS.build(dict(load(name).model, data_preprocessor=None)))
    assert measure_complexity(model, (360, 480)).flops / 1e9 == pytest.approx(gflops, abs=0.005)


class TestCountsOfThePaper:
    """ISDNet-R18 at 1024x2048: 17.23 M parameters and 165.8 GFLOPs, counted in the authors' code."""

    @staticmethod
    def model():
        cfg = without_pretrained(Config.fromfile(ROOT / '_base_/models/isdnet_r18.py').model)
        cfg.decode_head.decode_head.num_classes = cfg.auxiliary_head.num_classes = 7  # DeepGlobe's
        with torch.device('meta'):
            return revert_sync_batchnorm(MODELS.build(cfg))

    def test_parameters_and_operations(self):
        complexity = measure_complexity(self.model(), (1024, 2048))
        # The authors' code keeps the classifier of the deep head at inference, 128 x 7 weights and 7 biases.
        assert complexity.params == 17_224_107
        assert round((complexity.params + 128 * 7 + 7) / 1e6, 2) == 17.23
        assert round((complexity.params + complexity.training_params) / 1e6, 2) == 17.78
        # It also runs it, and blurs with 5x5 convolutions of 3 channels: twice at each of two levels, where our pyramid
        # adds slices, which are not counted.
        classifier = 2 * 128 * 7 * 32 * 64
        blurs = 2 * 25 * 3 * 2 * (1024 * 2048 + 512 * 1024)
        assert round(complexity.flops / 1e9, 1) == 165.0
        assert round((complexity.flops + classifier + blurs) / 1e9, 1) == 165.8

    def test_each_line_of_the_guide(self):
        model = self.model().eval()
        with torch.device('meta'), torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, 1024, 2048))
        operations = {
            name.partition('.')[2]: sum(ops.values()) / 1e9 for name, ops in counter.get_flop_counts().items()
        }
        head = model.decode_head
        parts = {
            'ResNet-18': ('backbone', model.backbone),
            'ASPP': ('decode_head.decode_head', head.decode_head),
            'Shallow network': ('shallow', model.shallow),
            'RAF at 1/16': ('decode_head.fuse_16', head.fuse_16),
            'RAF at 1/8': ('decode_head.fuse_8', head.fuse_8),
        }
        for name, (path, module) in parts.items():
            params = sum(p.numel() for key, p in module.named_parameters() if 'conv_seg' not in key)
            assert f'| {name} | {params:,} | {operations[path]:.2f} |' in GUIDE

    def test_super_resolution_branch(self):
        assert sum(p.numel() for p in self.model().sr_aux.sr.parameters()) == 258_883


class TestDocumentedAblations:
    """The options that the guide gives for the rows of the paper's tables."""

    ROWS = re.findall(
        r'^\| (ADD|CAT|CW|one relation|baseline|\+ SR|\+ SR \+ SD|\+ SR \+ SD \+ H) \| `(model[^`]*)`',
        GUIDE,
        re.M,
    )

    def test_are_found(self):
        table_6, table_7 = ['ADD', 'CAT', 'CW', 'one relation'], ['baseline', '+ SR', '+ SR + SD', '+ SR + SD + H']
        assert [row for row, _ in self.ROWS] == table_6 + table_7

    @pytest.mark.parametrize(('row', 'options'), ROWS)
    def test_are_options_of_a_shipped_config(self, row, options):
        argv = [str(ROOT / 'isdnet/isdnet_r18_cityscapes.py'), '--cfg-options', *shlex.split(options)]
        model = build_for_shapes(dict(training_config(argv).model, data_preprocessor=None), 'meta')
        gates = model.decode_head.fuse_8.gates
        relations = [gate.relate is not None for gate in gates or ()]
        gated = {'ADD': [], 'CAT': [], 'CW': [False, False], 'one relation': [True, False]}
        assert relations == gated.get(row, [True, True])
        assert model.decode_head.fuse_8.fused.conv.in_channels == (256 if row == 'CAT' else 128)
        aux = model.sr_aux
        parts = (model.pyramid.levels > 0, aux.sr is not None, aux.structure is not None)
        expected = {'baseline': (False,) * 3, '+ SR': (False, True, False), '+ SR + SD': (False, True, True)}
        assert parts == expected.get(row, (True,) * 3)
        assert aux.sr is None or aux.sr.target == ('image' if '+' in row else 'frequencies')
