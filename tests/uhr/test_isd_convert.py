"""ISDNet's form of stock configs; of all that MMSegmentation ships: ``tests/seg/test_convert_shipped.py``."""

from pathlib import Path

import pytest
import toy
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS

from dsrl_mm.engine.loading import without_pretrained
from dsrl_mm.uhr import ISDSegmentor, to_isd
from dsrl_mm.uhr.convert import _factors, main

ISDNET = Path(__file__).parents[2] / 'configs/_base_/models'


def stock_cfg(**overrides) -> Config:
    """A stock config of the toy network."""
    model = toy.model_cfg(dsrl=False, head='FCNHead')
    del model['scale_factor']
    return Config(dict(model=model | dict(type='EncoderDecoder') | overrides, crop_size=toy.SIZE))


def test_the_converted_network_trains_and_the_stock_config_stays():
    cfg = stock_cfg(auxiliary_head=toy.auxiliary_head_cfg())
    before = cfg.pretty_text
    converted = to_isd(cfg, scale_factor=2)
    assert cfg.pretty_text == before
    assert converted.custom_imports['imports'] == ['dsrl_mm.uhr']
    assert converted.model.decode_head.decode_head == cfg.model.decode_head
    model = revert_sync_batchnorm(MODELS.build(without_pretrained(converted.model)))
    assert isinstance(model, ISDSegmentor) and model.scale_factor == 2
    values = toy.losses(model, toy.batch())
    assert {'decode.loss_ce', 'aux.loss_ce', 'deep.loss_ce', 'sr.loss_sisr', 'sr.loss_structure'} < set(values)


def test_without_super_resolution():
    assert to_isd(stock_cfg(), sr=False).model.sr_aux == {}


@pytest.mark.parametrize(
    ('stride', 'factors'), [(32, (4, 2, 2)), (16, (2, 2, 2)), (8, (2, 2)), (4, (2,)), (2, (1,)), (24, (3, 2, 2))]
)
def test_the_branch_predicts_half_of_the_canvas(stride, factors):
    assert _factors(stride) == factors


def test_the_shipped_model_is_what_the_tool_writes():
    stock = Config.fromfile(ISDNET / 'deeplabv3_r18.py')
    stock.model.type = 'EncoderDecoder'
    del stock.model.scale_factor
    converted, shipped = to_isd(stock).model, Config.fromfile(ISDNET / 'isdnet_r18.py').model
    # The authors' forms of the deep network's input and of the branch's target, and the default of a width.
    assert shipped.pop('deep_input') == 'nearest' and shipped.sr_aux.sr.pop('target') == 'frequencies'
    assert shipped.decode_head.pop('channels') == 64
    assert converted.decode_head.pop('norm_cfg') == converted.decode_head.decode_head.norm_cfg
    assert converted == shipped


def test_images_of_other_channels():
    cfg = stock_cfg()
    cfg.model.backbone.in_channels = 4
    model = to_isd(cfg).model
    assert model.sr_aux.sr.out_channels == 4
    assert 'init_cfg' not in model.shallow  # STDC's weights are for 3


def test_groups_divide_the_shallow_networks_channels():
    gn = dict(type='GN', num_groups=48)
    cfg = stock_cfg()
    cfg.model.decode_head.update(channels=48, norm_cfg=gn)
    assert to_isd(cfg).model.shallow.norm_cfg == dict(type='GN', num_groups=16)


def test_instance_norm_is_not_of_pooled_features():
    cfg = stock_cfg(decode_head=toy.head_cfg('FCNHead') | dict(norm_cfg=dict(type='IN')))
    converted = to_isd(cfg).model
    assert converted.decode_head.fusion.pool_norm_cfg == dict(type='GN', num_groups=1)
    model = MODELS.build(without_pretrained(converted))
    assert 'decode.loss_ce' in toy.losses(model, toy.batch(n=1))


class TestLightNetworks:
    def test_are_warned_of(self, log, tmp_path):
        (tmp_path / 'toy.py').write_text(stock_cfg().pretty_text)
        out = tmp_path / 'isd.py'
        main([str(tmp_path / 'toy.py'), '-o', str(out)])
        (line,) = [line for line in log if 'too light' in line]
        assert line.startswith('to_isd: This network is too light for ISDNet: on the whole canvas, it takes 0.')
        assert out.read_text().startswith(
            '# toy.py with ISDNet: the network reads 1/4 of each side.\n# This network is too light'
        )
        converted = Config.fromfile(out).model
        assert converted == to_isd(stock_cfg()).model

    @pytest.mark.parametrize(
        'name',
        [
            'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
            'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
        ],
    )
    def test_the_papers_are_heavy_enough(self, log, name):
        to_isd(f'mmseg::{name}')
        assert not [line for line in log if 'too light' in line]


@pytest.mark.parametrize(
    ('cfg', 'error', 'message'),
    [
        (stock_cfg(type='CascadeEncoderDecoder'), TypeError, 'refines the logits'),
        (stock_cfg(decode_head=toy.head_cfg('STDCHead')), TypeError, 'ISDHead cannot wrap STDCHead: it has a loss_by_'),
        (Config(dict(model=toy.model_cfg())), TypeError, 'converted already: its model is a DSRLSegmentor'),
    ],
)
def test_what_cannot_be_converted(cfg, error, message):
    with pytest.raises(error, match=message):
        to_isd(cfg)


def test_bad_requests_leave_no_file(tmp_path, capsys):
    (tmp_path / 'toy.py').write_text(stock_cfg().pretty_text)
    with pytest.raises(ValueError, match='scale_factor must be an integer of at least 2'):
        main([str(tmp_path / 'toy.py'), '-o', str(tmp_path / 'out.py'), '--scale-factor', '1'])
    assert not (tmp_path / 'out.py').exists()
    main([str(tmp_path / 'toy.py'), '-o', str(tmp_path / 'out.py'), '--no-sr'])
    assert Config.fromfile(tmp_path / 'out.py').model.sr_aux == {}
    with pytest.raises(FileExistsError, match='exists already'):
        main([str(tmp_path / 'toy.py'), '-o', str(tmp_path / 'out.py')])
