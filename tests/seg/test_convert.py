"""DSRL configs of stock configs."""

import pytest
import torch
import toy
from mmengine.config import Config
from mmseg.registry import MODELS

from dsrl_mm.seg import to_dsrl
from dsrl_mm.seg.convert import find_config, main, write_dsrl_config

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


def stock_cfg(**overrides) -> Config:
    """A stock config of the toy network."""
    model = toy.model_cfg(dsrl=False)
    del model['scale_factor']
    return Config(dict(model=model | dict(type='EncoderDecoder') | overrides, crop_size=toy.SIZE))


def fine_cfg(stride: int, scale_factor: int = 2) -> Config:
    """A converted config of a network whose head predicts on 1/``stride`` of what it reads."""
    cfg = stock_cfg()
    cfg.model.backbone.update(strides=(1, 1, 1, 1), dilations=(1, 1, 1, 1))
    if stride == 2:
        cfg.model.backbone = dict(type='ESPNetv2', widen_factor=0.5, out_indices=(0, 1))
        cfg.model.decode_head.update(in_channels=16, in_index=0)
    return to_dsrl(cfg, scale_factor)


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
    assert converted.model.decode_head.decode_head == cfg.model.decode_head
    # Stages of 8, 16, 32 and 64 channels at 1/4, 1/8, 1/8 and 1/8 of the network's input.
    head = converted.model.sr_aux.head
    assert (head.in_channels, head.in_index, head.upscale_factor) == ((8, 64), (0, 3), 8)
    assert {'decode.loss_ce', 'sr.loss_sisr', 'sr.loss_fa'} <= set(step(converted))


@pytest.mark.parametrize(
    ('parts', 'losses'),
    [(dict(sisr=False), set()), (dict(fa=False), {'sr.loss_sisr'}), (dict(), {'sr.loss_sisr', 'sr.loss_fa'})],
)
def test_leaves_parts_out(parts, losses):
    assert {name for name in step(to_dsrl(stock_cfg(), **parts)) if name.startswith('sr.')} == losses


def test_compares_affinities_on_an_eighth_of_the_canvas():
    # SISR's features: stride 4 of the network's input. SSSR's: 4 of the canvas, or 2 where the stock head's are so fine
    # that the least enlargement, by scale_factor, brings them there.
    assert to_dsrl(stock_cfg()).model.sr_aux.fa.subsample == 2
    assert fine_cfg(2).model.sr_aux.fa.subsample == 4


@pytest.mark.parametrize(
    ('stride', 'scale_factor', 'factors'),
    [(8, 2, (2, 2)), (8, 4, (2, 2, 2)), (8, 3, (2, 3)), (8, 5, (2, 5)), (4, 2, (2,)), (2, 2, (2,)), (2, 3, (3,))],
)
def test_sssr_predicts_on_a_quarter_of_the_canvas(stride, scale_factor, factors):
    converted = to_dsrl(stock_cfg(), scale_factor) if stride == 8 else fine_cfg(stride, scale_factor)
    assert tuple(converted.model.decode_head.upsampler.factors) == factors


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
        (stock_cfg(type='CascadeEncoderDecoder'), 'refines the logits'),
        (stock_cfg(type='DepthEstimator'), 'DepthEstimator'),
        (stock_cfg(type='DSRLSegmentor'), 'already'),
        (stock_cfg(decode_head=dict(type='EncHead')), 'loss_by_feat'),
        (stock_cfg(decode_head=dict(type='Mask2FormerHead')), 'mask classification'),
        (stock_cfg(decode_head=[toy.head_cfg()]), 'list of heads'),
    ]
    for cfg, reason in cases:
        with pytest.raises(TypeError, match=reason):
            to_dsrl(cfg)
    with pytest.raises(ImportError, match='(?s)NoSuchBackbone.*custom_imports'):
        cfg = stock_cfg(backbone=dict(type='NoSuchBackbone'))
        to_dsrl(cfg)


def test_a_network_that_needs_a_larger_input_is_refused_with_its_size():
    cfg = stock_cfg(
        decode_head=dict(
            type='LRASPPHead',
            in_channels=(8, 16, 64),
            in_index=(0, 1, 3),
            input_transform='multiple_select',
            branch_channels=(4, 4),
            channels=8,
            num_classes=5,
        )
    )
    with pytest.raises(TypeError, match='48x64 pixels are too small.*24x32'):
        to_dsrl(cfg)


def test_written_file_is_a_difference_that_gives_the_same_config(tmp_path):
    stock = tmp_path / 'stock' / 'net.py'
    stock.parent.mkdir()
    cfg = stock_cfg()
    cfg.custom_imports = dict(imports='dsrl_mm.core', allow_failed_imports=False)
    cfg.dump(stock)
    out = write_dsrl_config(stock, tmp_path / 'mine' / 'net_dsrl.py')
    text = out.read_text()
    assert "_base_ = '../stock/net.py'" in text and 'backbone' not in text and len(text.splitlines()) < 40
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
    out = write_dsrl_config(stock, tmp_path / 'out.py')
    assert '_base_' not in out.read_text()
    losses = step(Config.fromfile(out))
    assert {'decode.loss_ce', 'sr.loss_sisr', 'sr.loss_fa'} <= set(losses)


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
    main([SHIPPED, '-o', str(out), '--scale-factor', '4', '--no-fa'])
    assert '_base_' not in out.read_text()
    cfg = Config.fromfile(out)
    stock = Config.fromfile(find_config(SHIPPED))
    assert (cfg.model.scale_factor, cfg.model.sr_aux.fa) == (4, None)
    assert cfg.train_dataloader == stock.train_dataloader and cfg.optim_wrapper == stock.optim_wrapper


def test_bad_requests_leave_no_file(tmp_path, capsys):
    out = tmp_path / 'out.py'
    for name, reason in (('no/such.py', 'no config'), ('mmseg::no/such.py', 'no config'), ('mmdet::a.py', 'mmdet')):
        with pytest.raises(SystemExit, match=reason):
            main([name, '-o', str(out)])
    with pytest.raises(SystemExit, match='scale_factor'):
        main([SHIPPED, '-o', str(out), '--scale-factor', '1'])
    with pytest.raises(SystemExit, match='refines'):
        main(['mmseg::ocrnet/ocrnet_hr18_4xb2-160k_cityscapes-512x1024.py', '-o', str(out)])
    assert not out.exists()
    out.write_text('mine')
    with pytest.raises(SystemExit, match='exists already'):
        main([SHIPPED, '-o', str(out)])
    assert out.read_text() == 'mine'
