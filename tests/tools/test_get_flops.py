"""The table of parameters and operations."""

import csv

import pytest
import toy
import toy_data
from mmengine.config import Config
from uhr.toy_isd import isd_cfg

from dsrl_mm.engine.complexity import measure_complexity
from tools.analysis_tools.get_flops import count, main


@pytest.fixture
def config(tmp_path):
    return toy_data.write_config(tmp_path, tmp_path, crop_size=toy.SIZE)


def test_counts_what_the_network_reads_of_the_canvas(config):
    cfg = Config.fromfile(config)
    baseline = dict(cfg.model, decode_head=cfg.model.decode_head.decode_head, sr_aux=None)
    cost, stock = (measure_complexity(toy.build(model), toy.SIZE) for model in (cfg.model, baseline))
    row = count(cfg)
    assert row['input size'] == '24x32'
    assert row['GMACs'] * 1e9 == pytest.approx(cost.macs)
    assert row['GFLOPs'] == 2 * row['GMACs']
    assert row['M params'] * 1e6 == pytest.approx(cost.params)
    assert row['in training'] * 1e6 == pytest.approx(cost.params + cost.training_params)
    assert row['SSSR adds %'] == pytest.approx(100 * (cost.macs / stock.macs - 1))


def test_the_stack_s_share_where_it_reads_early_features_too(config):
    cfg = Config.fromfile(config)
    without = count(cfg)
    head = cfg.model.decode_head
    head.skip = dict(in_index=0, in_channels=toy.CHANNELS[0])
    head.decode_head.in_index = 2  # of those that are left
    assert count(cfg)['SSSR adds %'] > without['SSSR adds %'] > 0


def test_size_can_be_given_and_must_be_known(config):
    cfg = Config.fromfile(config)
    assert count(cfg, (48, 64))['GMACs'] == pytest.approx(4 * count(cfg)['GMACs'], rel=0.1)
    cfg.pop('crop_size')
    with pytest.raises(ValueError, match='has no crop_size: set it to height and width'):
        count(cfg)


def test_stock_models_read_the_canvas(config):
    cfg = Config.fromfile(config)
    cfg.model = dict(cfg.model, decode_head=cfg.model.decode_head.decode_head, sr_aux=None, scale_factor=1)
    full = count(cfg)
    for key in ('scale_factor', 'sr_aux'):
        cfg.model.pop(key)
    cfg.model.type = 'EncoderDecoder'
    assert count(cfg) == full
    assert full['input size'] == '48x64'


def test_images_may_have_other_channels(config):
    cfg = Config.fromfile(config)
    cfg.model.backbone.in_channels = 4
    assert count(cfg)['GMACs'] > count(Config.fromfile(config))['GMACs']


def test_prints_and_writes_a_row_for_every_config(config, tmp_path, capsys):
    out = tmp_path / 'flops' / 'table.csv'
    main([str(config), str(config), '--out', str(out), '--cfg-options', 'model.decode_head.upsampler.channels=4'])
    with open(out) as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 2 and rows[0] == rows[1]
    printed = [line.split(' | ') for line in capsys.readouterr().out.splitlines() if line.startswith('| toy')]
    assert len(printed) == 2
    assert float(printed[0][4]) == pytest.approx(float(rows[0]['GMACs']), abs=0.005)
    wide = count(Config.fromfile(config))
    assert float(rows[0]['SSSR adds %']) < wide['SSSR adds %']


def test_isdnet_reads_the_canvas():
    cfg = Config(dict(model=isd_cfg(), crop_size=toy.SIZE))
    row = count(cfg)
    assert row['input size'] == '48x64'
    assert row['GFLOPs'] * 1e9 == pytest.approx(measure_complexity(toy.build(cfg.model), toy.SIZE).flops)
