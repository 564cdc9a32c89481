"""Every config that MMSegmentation ships is converted to DSRL and to ISDNet, or refused for a reason named here."""

import importlib.util
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from math import prod
from pathlib import Path
from unittest import mock

import mmseg
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmseg.registry import MODELS
from toy import batch, shrink

from dsrl_mm.seg import to_dsrl
from dsrl_mm.uhr import to_isd

ROOT = Path(mmseg.__file__).parent / '.mim' / 'configs'
CONFIGS = sorted(path for path in ROOT.glob('*/*.py') if '_base_' not in path.parts)

#: Whether mmcv's compiled operators are real: the package's stand-in has no file.
HAS_OPERATORS = sys.modules['mmcv._ext'].__spec__.origin is not None

#: Why a segmentor or a decode head cannot become part of a DSRL model.
REFUSED = dict(
    CascadeEncoderDecoder='refines the logits of the one before',
    MultimodalEncoderDecoder='only an EncoderDecoder',
    DepthEstimator='only an EncoderDecoder',
    EncHead='loss_by_feat',
    DAHead='loss_by_feat',
    IterativeDecodeHead='loss_by_feat',
    PIDHead='loss_by_feat',
    DDRHead='loss_by_feat',
    MaskFormerHead='mask classification',
    Mask2FormerHead='mask classification',
    SegmenterMaskTransformerHead='no conv_seg',
    # Its pooling window of 49x49, on 1/8 of the input, does not fit into 1/8 of 256x512.
    LRASPPHead='too small',
    # DPT reads pairs of feature maps and class tokens; SSSR alone can be added.
    DPTHead='no plain sequence of feature maps',
)


def read(paths: Iterable[Path]) -> list[Config]:
    """Read configs, and each file that several have as a base once: MMEngine copies what it takes from it."""
    with mock.patch.object(Config, '_file2dict', cache(Config._file2dict)):
        return [Config.fromfile(path, import_custom_modules=False) for path in paths]


def _type(cfg) -> str:
    return cfg.type if isinstance(cfg.type, str) else cfg.type.__name__


def _reason(model: ConfigDict) -> str | None:
    head = model.decode_head
    parts = [_type(model), *([_type(head)] if isinstance(head, dict) else [])]
    return next((REFUSED[part] for part in parts if part in REFUSED), None)


def _missing(model: ConfigDict) -> str | None:
    """What this environment lacks for a model that could be converted."""
    if _type(model.backbone).startswith('mmpretrain.') and not importlib.util.find_spec('mmpretrain'):
        return 'mmpretrain'
    if _type(model.decode_head) == 'PSAHead' and not HAS_OPERATORS:
        return "mmcv's operators"
    return None


#: What the conversion does not depend on, or, of widths, only by numbers that it reads from the network.
IGNORED = {
    *('align_corners', 'data_preprocessor', 'init_cfg', 'loss_decode', 'num_classes', 'pretrained', 'sampler'),
    *('depth', 'depths', 'drop_path_rate', 'img_size', 'num_layers', 'test_cfg', 'train_cfg'),
    *('arch', 'base_channels', 'channels', 'embed_dims', 'in_channels', 'num_heads'),
}


def _architecture(value):
    """A model config as something that is equal for configs whose conversion is the same."""
    if isinstance(value, dict):
        return tuple((key, _architecture(value[key])) for key in sorted(value) if key not in IGNORED)
    if isinstance(value, (list, tuple)):
        return tuple(_architecture(item) for item in value)
    return repr(value)


def _kind(model: ConfigDict) -> tuple[str, ...]:
    """Of a converted model."""
    neck = _type(model.neck) if model.get('neck') else ''
    return _type(model.backbone), neck, _type(model.decode_head.decode_head)


def _weight(model: ConfigDict) -> float:
    """Grows with the size of the backbone, among those of one type."""
    sizes = [
        sum(value) if isinstance(value, (list, tuple)) else value
        for key, value in model.get('backbone', {}).items()
        if key in ('depth', 'depths', 'num_layers', 'embed_dims', 'base_channels', 'channels')
        and not isinstance(value, str)
    ]
    return prod(size for size in sizes if isinstance(size, (int, float)))


@cache
def architectures() -> list[tuple[Config, int]]:
    """A config of each architecture, the least deep and made narrow, and how many configs have it."""
    if importlib.util.find_spec('mmpretrain'):
        importlib.import_module('mmpretrain.models')
    alike, found = defaultdict(list), []
    for cfg in read(CONFIGS):
        alike[_architecture(cfg.model)].append(cfg)
    for cfgs in alike.values():
        cfg = min(cfgs, key=lambda cfg: _weight(cfg.model))
        shrink(cfg.model.get('backbone', {}))
        head = cfg.model.decode_head
        if isinstance(head, dict) and _type(head) in ('APCHead', 'ASPPHead', 'UPerHead'):  # the widest
            head.channels = 32
        found.append((cfg, len(cfgs)))
    return found


@pytest.fixture(scope='module')
def walked():
    """What came of every config, and a converted model of each architecture, for a small input."""
    outcomes, models = Counter(), []
    for cfg, count in architectures():
        reason = _reason(cfg.model)
        missing = None if reason else _missing(cfg.model)
        if reason:
            with pytest.raises(TypeError, match=reason):
                to_dsrl(cfg)
        elif missing:
            with pytest.raises(ImportError):
                to_dsrl(cfg)
        else:
            models.append(to_dsrl(cfg).model)
            outcomes['reads an early feature map'] += count * ('skip' in models[-1].decode_head)
        outcomes[reason or (f'needs {missing}' if missing else 'converted')] += count
    return outcomes, models


def test_every_config_converts_or_is_refused_with_its_reason(walked):
    outcomes, _ = walked
    early = outcomes.pop('reads an early feature map')
    assert outcomes.total() == len(CONFIGS) >= 600
    assert outcomes['converted'] >= 500
    assert early >= 300
    assert set(REFUSED.values()) <= set(outcomes)


def test_every_config_becomes_an_isdnet_or_is_refused_with_its_reason():
    outcomes, heads = Counter(), {}
    for cfg, count in architectures():
        reason = _reason(cfg.model)
        missing = None if reason else _missing(cfg.model)
        if reason == REFUSED['DPTHead']:  # which is in the way of SISR alone
            reason = None
        if reason or missing:
            with pytest.raises(TypeError if reason else ImportError, match=reason):
                to_isd(cfg)
        else:
            model = to_isd(cfg).model
            assert model.type == 'ISDSegmentor', cfg.filename
            head = _type(model.decode_head.decode_head)
            heads[head] = min(model, heads.get(head, model), key=_weight)
        outcomes[reason or (f'needs {missing}' if missing else 'converted')] += count
    assert outcomes.total() == len(CONFIGS)
    assert outcomes['converted'] >= 550
    assert len(outcomes) >= 6
    assert len(heads) >= 15
    for head, model in heads.items():
        losses, trained = _training_step(model, 128)
        assert {'sr.loss_structure'} <= losses.keys(), head
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values()), head
        assert _learns(trained.backbone) and _learns(trained.shallow), head


def test_one_of_each_backbone_neck_and_head_takes_a_training_step(walked):
    _, models = walked
    tried = set()
    for model in sorted(models, key=_weight):
        kind = _kind(model)
        if tried.issuperset(kind):
            continue
        tried.update(kind)
        try:
            losses, trained = _training_step(model, 64)
        except Exception as error:
            raise AssertionError(f'{kind}: no training step') from error
        assert 'sr.loss_sisr' in losses and 'sr.loss_fa' not in losses, kind
        assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values()), kind
        assert _learns(trained.decode_head.upsampler.predict) and _learns(trained.backbone), kind
    assert len(tried) >= 40


def _training_step(cfg: ConfigDict, side: int) -> tuple[dict[str, torch.Tensor], BaseModel]:
    """Compute losses and gradients of a converted model on canvases of a side."""
    if 'img_size' in cfg.backbone:
        cfg.backbone.img_size = (32, 32)
    model = revert_sync_batchnorm(MODELS.build(dict(cfg, data_preprocessor=None)))
    data = batch((side, side), classes=model.decode_head.num_classes)
    images = torch.randn(2, cfg.backbone.get('in_channels', 3), side, side, generator=torch.Generator().manual_seed(0))
    losses = model(images, data['data_samples'], mode='loss')
    sum(value.sum() for name, value in losses.items() if 'loss' in name).backward()
    return losses, model


def _learns(module: torch.nn.Module) -> bool:
    return any(p.grad is not None and p.grad.any() for p in module.parameters())
