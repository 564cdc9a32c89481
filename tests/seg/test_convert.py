"""DSRL configs of stock configs."""

import re
from pathlib import Path

import pytest
import torch
import toy
from mmengine.config import Config, ConfigDict
from mmseg.models.decode_heads import FCNHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch.nn.functional import adaptive_avg_pool2d

from dsrl_mm.seg import to_dsrl
from dsrl_mm.seg.conversion import find_config
from dsrl_mm.seg.convert import _factors, main

SHIPPED = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'


LAZY = """
from mmengine.model import BaseDataPreprocessor
from mmseg.models import EncoderDecoder, FCNHead, ResNetV1c, SegDataPreProcessor
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(type=SegDataPreProcessor, size=(48, 64)),
    backbone=dict(type=ResNetV1c, depth=18, base_channels=8, stem_channels=8, out_indices=(0, 1, 2, 3)),
    decode_head=dict(type=FCNHead, in_channels=64, in_index=3, channels=8, num_convs=1, num_classes=5,
                     norm_cfg=dict(type='BN')),
)
"""


@MODELS.register_module()
class CoarseHead(FCNHead):
    """Reads the first map, whatever its ``in_index``, on the grid of the last."""

    def forward(self, inputs):
        pooled = adaptive_avg_pool2d(inputs[0], inputs[-1].shape[-2:])
        return self.cls_seg(self.convs(pooled))


@MODELS.register_module()
class BrightHead(FCNHead):
    """Looks at values, which the meta device does not have."""

    def forward(self, inputs):
        return super().forward(inputs if inputs[0].max() >= 0 else ())


def stock_cfg(**overrides) -> Config:
    """A stock config of the toy network."""
    model = toy.model_cfg(dsrl=False)
    del model['scale_factor']
    return Config(dict(model=model | dict(type='EncoderDecoder') | overrides, crop_size=toy.SIZE))


def step(cfg: Config) -> dict[str, float]:
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    data = model.data_preprocessor(toy.batch(), training=True)
    total, logs = model.parse_losses(model(**data, mode='loss'))
    total.backward()
    return logs


def test_adds_every_part_and_leaves_the_stock_config_as_it_is():
    cfg = stock_cfg()
    before = cfg.pretty_text
    converted = to_dsrl(cfg)
    assert cfg.pretty_text == before
    assert converted.model.type == 'DSRLSegmentor'
    # SSSR reads the first of four stages, and the wrapped head the last of the others.
    assert converted.model.decode_head.skip == dict(in_index=0, in_channels=8)
    assert converted.model.decode_head.decode_head == dict(cfg.model.decode_head, in_index=2)
    # Stages of 8, 16, 32 and 64 channels at 1/4, 1/8, 1/8 and 1/8 of the network's input.
    head = converted.model.sr_aux.head
    assert (head.in_channels, head.in_index, head.upscale_factor) == ((8, 64), (0, 3), 8)
    assert {'decode.loss_ce', 'sr.loss_sisr'} <= set(step(converted))


@pytest.mark.parametrize(
    ('parts', 'losses', 'early'),
    [
        (dict(), {'sr.loss_sisr'}, True),
        (dict(sisr=False), set(), True),
        (dict(form='paper'), {'sr.loss_sisr', 'sr.loss_fa'}, False),
        (dict(form='paper', sisr=False), set(), False),
    ],
)
def test_forms_and_parts(parts, losses, early):
    converted = to_dsrl(stock_cfg(), **parts)
    assert {name for name in step(converted) if name.startswith('sr.')} == losses
    assert ('skip' in converted.model.decode_head) == early


def test_compares_affinities_on_an_eighth_of_the_canvas():
    # SISR's features: stride 4 of the network's input. SSSR's: 4 of the canvas, or 2 where the stock head's are so fine
    # that the least enlargement, by scale_factor, brings them there.
    assert to_dsrl(stock_cfg(), form='paper').model.sr_aux.fa.subsample == 2
    cfg = stock_cfg(backbone=dict(type='ESPNetv2', widen_factor=0.5, out_indices=(0, 1)))
    cfg.model.decode_head.update(in_channels=16, in_index=0)
    assert to_dsrl(cfg, form='paper').model.sr_aux.fa.subsample == 4


def test_a_network_that_depends_on_values_converts_like_others():
    stock, like = (
        stock_cfg(decode_head=toy.head_cfg(kind, num_convs=1), pretrained='x.pth') for kind in ('BrightHead', 'FCNHead')
    )
    converted, expected = to_dsrl(stock).model, to_dsrl(like).model
    assert converted.decode_head.decode_head.pop('type') == 'BrightHead'
    expected.decode_head.decode_head.pop('type')
    assert converted == expected


def test_no_weight_is_initialized(monkeypatch):
    """Nor anything computed: what takes time for a large network is left out."""
    seen = set()
    init = torch.nn.init.kaiming_uniform_
    monkeypatch.setattr(
        torch.nn.init,
        'kaiming_uniform_',
        lambda tensor, **options: seen.add(tensor.device.type) or init(tensor, **options),
    )
    to_dsrl(stock_cfg())
    assert seen <= {'meta'}


@pytest.fixture
def read(monkeypatch):
    """The feature maps that decode heads were given to transform, in turn: those of their ``in_index``."""
    seen = []
    transform = BaseDecodeHead._transform_inputs
    monkeypatch.setattr(
        BaseDecodeHead, '_transform_inputs', lambda head, inputs: seen.append(transform(head, inputs)) or seen[-1]
    )
    return seen


def outputs(model, image):
    """What the heads of a segmentor with random weights read; those of its backbone depend on the seed alone."""
    torch.manual_seed(0)
    for parameter in model.backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.eval()
    feats = model.backbone(image)
    heads = model.auxiliary_head if model.with_auxiliary_head else []
    model.decode_head(feats)
    for head in heads if isinstance(heads, torch.nn.ModuleList) else [heads]:
        head(feats)


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (1, 2, 3)])
def test_heads_read_the_same_maps_as_before(read, out_indices):
    """Where the early map is one of the backbone's outputs, and where it must be added to them."""
    last = len(out_indices) - 1
    auxiliary = [dict(toy.auxiliary_head_cfg(), in_index=index) for index in (last - 1, -2)]
    cfg = stock_cfg(decode_head=toy.head_cfg(in_index=last), auxiliary_head=auxiliary)
    cfg.model.backbone.out_indices = out_indices
    converted = to_dsrl(cfg).model
    assert tuple(converted.backbone.out_indices) == (0, 1, 2, 3)
    assert converted.decode_head.skip == dict(in_index=0, in_channels=8)
    image = torch.randn(1, 3, 24, 32)
    read.clear()
    with torch.no_grad():
        outputs(MODELS.build(cfg.model), image)
        outputs(MODELS.build(converted), image)
    assert len(read) == 6
    for before, after in zip(read[:3], read[3:]):
        assert torch.equal(before, after)
    assert {'aux_0.loss_ce', 'aux_1.loss_ce'} <= set(step(Config(dict(model=converted))))


def write_with_tool(stock: Path, out: Path) -> Path:
    """Convert a file as the command does."""
    main([str(stock), '-o', str(out)])
    return out


@pytest.mark.parametrize(
    ('overrides', 'reason'),
    [
        (dict(decode_head=toy.head_cfg('UPerHead')), 'none that is finer'),
        (dict(neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=64, num_outs=4)), 'neck'),
        (
            dict(decode_head=toy.head_cfg('CoarseHead', in_channels=8, num_convs=1)),
            'itself',
        ),
    ],
)
def test_says_why_there_is_no_early_map(overrides, reason, tmp_path):
    cfg = stock_cfg(**overrides)
    cfg.dump(tmp_path / 'stock.py')
    out = write_with_tool(tmp_path / 'stock.py', tmp_path / 'dsrl.py')
    assert re.search(f'^# SSSR reads no early feature map, because .*{reason}', out.read_text(), re.MULTILINE)
    assert 'skip' not in Config.fromfile(out).model.decode_head


@pytest.mark.parametrize(
    ('backbone', 'channels', 'in_index', 'upscale_factor'),
    [
        (dict(type='DABNet'), (131, 259), (1, 2), 8),  # strides 2, 4 and 8
        (dict(type='UNet', base_channels=4), (4,), (4,), 2),  # strides 16, 8, 4, 2 and 1
    ],
)
def test_sisr_reads_maps_from_stride_4_on_unless_the_last_is_finer(backbone, channels, in_index, upscale_factor):
    head = toy.head_cfg('FCNHead', in_channels=channels[-1], in_index=in_index[-1])
    converted = to_dsrl(stock_cfg(backbone=backbone, decode_head=head), form='paper').model.sr_aux.head
    assert (converted.in_channels, converted.in_index) == (channels, in_index)
    assert converted.upscale_factor == upscale_factor


def test_other_strides_than_the_stacks_are_left_out():
    # The stack goes from 1/8 by 3 and 2 to 1/8 x 6; an early map at 1/2 is on neither of its grids.
    cfg = stock_cfg(backbone=dict(type='DABNet'), decode_head=toy.head_cfg('FCNHead', in_channels=259, in_index=2))
    assert 'skip' in to_dsrl(cfg, scale_factor=2).model.decode_head
    assert 'skip' not in to_dsrl(cfg, scale_factor=3).model.decode_head


@pytest.mark.parametrize(
    ('stride', 'scale_factor', 'factors'),
    [(8, 2, (2, 2)), (8, 4, (2, 2, 2)), (8, 3, (2, 3)), (8, 5, (2, 5)), (4, 2, (2,)), (2, 2, (2,)), (2, 3, (3,))],
)
def test_sssr_predicts_on_a_quarter_of_the_canvas(stride, scale_factor, factors):
    assert _factors(stride, scale_factor) == factors


def test_binary_output_other_channels_and_label_handling_stay():
    cfg = stock_cfg(
        decode_head=toy.head_cfg(
            num_classes=2,
            out_channels=1,
            threshold=0.4,
            ignore_index=7,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
        )
    )
    cfg.model.backbone.in_channels = 4
    converted = to_dsrl(cfg).model
    assert converted.sr_aux.head.out_channels == 4
    head = MODELS.build(converted).decode_head
    assert (head.num_classes, head.out_channels, head.threshold, head.ignore_index) == (2, 1, 0.4, 7)


def test_transformers_are_told_their_new_input_size():
    cfg = stock_cfg()
    cfg.model.backbone = dict(
        type='VisionTransformer',
        img_size=(64, 96),
        embed_dims=16,
        num_layers=2,
        num_heads=2,
        mlp_ratio=1,
        out_indices=(0, 1),
    )
    cfg.model.decode_head.update(in_channels=16, in_index=1)
    converted = to_dsrl(cfg).model
    assert tuple(converted.backbone.img_size) == (32, 48)
    # Both outputs are equally fine: the deeper one serves.
    assert (converted.sr_aux.head.in_index, converted.sr_aux.head.upscale_factor) == ((1,), 32)


def test_explains_what_cannot_work():
    cases = [
        (stock_cfg(type='DSRLSegmentor'), 'already'),
        (stock_cfg(decode_head=[toy.head_cfg()]), 'list of heads'),
    ]
    for cfg, reason in cases:
        with pytest.raises(TypeError, match=reason):
            to_dsrl(cfg)
    with pytest.raises(ImportError, match='(?s)NoSuchBackbone.*custom_imports'):
        cfg = stock_cfg(backbone=dict(type='NoSuchBackbone'))
        to_dsrl(cfg)


def test_written_file_is_a_difference_that_gives_the_same_config(tmp_path):
    stock = tmp_path / 'stock' / 'net.py'
    stock.parent.mkdir()
    cfg = stock_cfg()
    cfg.custom_imports = dict(imports='dsrl_mm.core', allow_failed_imports=False)
    cfg.dump(stock)
    out = write_with_tool(stock, tmp_path / 'mine' / 'net_dsrl.py')
    text = out.read_text()
    assert "_base_ = '../stock/net.py'" in text and 'backbone' not in text and len(text.splitlines()) < 40
    assert 'dict(_base_.model.decode_head, in_index=2)' in text
    written, expected = Config.fromfile(out), to_dsrl(stock)
    assert written.model == expected.model
    assert (
        written.custom_imports
        == expected.custom_imports
        == dict(imports=['dsrl_mm.core', 'dsrl_mm.seg'], allow_failed_imports=False)
    )


def test_a_pure_python_config_is_written_whole(tmp_path):
    stock = tmp_path / 'lazy.py'
    stock.write_text(LAZY)
    out = write_with_tool(stock, tmp_path / 'out.py')
    assert '_base_' not in out.read_text()
    losses = step(Config.fromfile(out))
    assert {'decode.loss_ce', 'sr.loss_sisr'} <= set(losses)


def test_custom_imports_that_may_fail_still_may():
    cfg = stock_cfg()
    cfg.custom_imports = dict(imports=['no.such.module'], allow_failed_imports=True)
    assert to_dsrl(cfg).custom_imports == dict(imports=['no.such.module', 'dsrl_mm.seg'], allow_failed_imports=True)


def test_group_norm_gets_groups_that_divide_the_stacks_channels():
    norm_cfg = dict(type='GN', num_groups=24)
    cfg = stock_cfg(decode_head=toy.head_cfg('FCNHead', norm_cfg=norm_cfg, channels=48))
    assert to_dsrl(cfg).model.decode_head.upsampler.norm_cfg == dict(type='GN', num_groups=8)


def test_shipped_config_is_written_whole(tmp_path):
    out = tmp_path / 'psp.py'
    main([SHIPPED, '-o', str(out), '--scale-factor', '4', '--form', 'paper'])
    assert '_base_' not in out.read_text()
    cfg = Config.fromfile(out)
    stock = Config.fromfile(find_config(SHIPPED))
    assert (cfg.model.scale_factor, cfg.model.sr_aux.fa.type) == (4, 'FALoss')
    assert cfg.train_dataloader == stock.train_dataloader and cfg.optim_wrapper == stock.optim_wrapper


def test_bad_requests_leave_no_file(tmp_path, capsys):
    out = tmp_path / 'out.py'
    for name, reason in (('no/such.py', 'no config'), ('mmseg::no/such.py', 'no config'), ('mmdet::a.py', 'mmdet')):
        with pytest.raises(FileNotFoundError, match=reason):
            main([name, '-o', str(out)])
    with pytest.raises(ValueError, match='scale_factor'):
        main([SHIPPED, '-o', str(out), '--scale-factor', '1'])
    with pytest.raises(TypeError, match='refines'):
        main(['mmseg::ocrnet/ocrnet_hr18_4xb2-160k_cityscapes-512x1024.py', '-o', str(out)])
    assert not out.exists()
    out.write_text('mine')
    with pytest.raises(FileExistsError, match='exists already'):
        main([SHIPPED, '-o', str(out)])
    assert out.read_text() == 'mine'


def difference(converted, shipped, where: str = 'model') -> set[str]:
    """The keys at which two model configs differ, but for ``requires_grad=True``, the default of normalizations."""
    if not isinstance(converted, dict) or not isinstance(shipped, dict):
        return set() if converted == shipped else {where}
    keys = (converted.keys() | shipped.keys()) - {'requires_grad'}
    return set().union(*(difference(converted.get(key), shipped.get(key), f'{where}.{key}') for key in keys))


BASES = Path(__file__).parents[2] / 'configs/_base_/models'
#: Small networks have narrower stacks and SISR heads than the default, so as not to add a tenth to their operations.
NARROW = {'model.decode_head.upsampler.channels'}
BY_HAND = dict(
    bisenetv1_r18_dsrl={'model.sr_aux.head.in_index', 'model.sr_aux.head.in_channels'},  # the fused features
    dabnet_dsrl=NARROW,
    dabnet_early=NARROW,
    deeplabv3plus_efficientnet_lite0_dsrl=NARROW | {'model.sr_aux.head.channels'},
    deeplabv3plus_efficientnet_lite0_early=NARROW | {'model.sr_aux.head.channels'},
    deeplabv3plus_r101_dsrl=set(),
    espnetv2_dsrl=NARROW,
    pspnet_r101_dsrl=set(),
    pspnet_r18_dsrl=set(),
)


def test_every_shipped_form_is_compared():
    shipped = {path.stem for path in BASES.glob('*.py') if path.stem.endswith(('_dsrl', '_early'))}
    assert shipped - BY_HAND.keys() == {'hrnet_w32_dsrl', 'hrnet_narrow_dsrl'}


@pytest.mark.parametrize('name', BY_HAND)
def test_shipped_models_are_what_the_tool_writes(name):
    network, _, suffix = name.rpartition('_')
    if 'efficientnet' in network:
        pytest.importorskip('timm')
    cfg = Config.fromfile(BASES / f'{network}.py')
    cfg.model = ConfigDict({**cfg.model, 'type': 'EncoderDecoder'})
    converted = to_dsrl(cfg, form='paper' if suffix == 'dsrl' else suffix).model
    assert difference(converted, Config.fromfile(BASES / f'{name}.py').model) == BY_HAND[name]
