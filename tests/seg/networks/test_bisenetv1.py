"""The shipped config of MMSegmentation's BiSeNetV1."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS

from dsrl_mm.engine.complexity import measure_complexity

CONFIG = Path(__file__).parents[3] / 'configs/_base_/models/bisenetv1_r18.py'


@pytest.fixture
def cfg():
    return Config.fromfile(CONFIG).model


def gflops(cfg, size) -> float:
    """Of a network that reads ``size``, counted without any data."""
    with torch.device('meta'):
        model = revert_sync_batchnorm(MODELS.build(cfg))
    return measure_complexity(model, tuple(2 * side for side in size)).flops / 1e9


def test_operations(cfg):
    # DSRL's paper prints 49.20 at 512x1024: see the config.
    assert gflops(cfg, (512, 1024)) == pytest.approx(59.17, abs=0.005)
    cfg.decode_head.channels = 64
    assert gflops(cfg, (512, 1024)) == pytest.approx(51.86, abs=0.005)


def test_resnet_has_the_layers_of_the_weights_it_starts_from(cfg):
    # torchvision's ResNet-18 has a single 7x7 layer before its stages, and no stem.
    assert 'resnet18-' in cfg.backbone.backbone_cfg.init_cfg.checkpoint
    resnet = MODELS.build(cfg.backbone.backbone_cfg)
    assert resnet.conv1.weight.shape == (64, 3, 7, 7)
    assert {name.split('.')[0] for name in resnet.state_dict()} == {
        'conv1',
        'bn1',
        'layer1',
        'layer2',
        'layer3',
        'layer4',
    }
