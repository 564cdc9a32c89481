"""What networks cost, measured once."""

import json

import pytest
import torch
from mmengine.config import Config

from dsrl_mm.apis import task_of
from projects.experiments import cost as module
from projects.experiments.cost import costs
from projects.experiments.grid import ROOT
from tools.analysis_tools.get_flops import count

from .grids import CONFIGS, make_grid

STOCK = 'projects/street_scenes/configs/street_scenes_baseline.py'


def test_input_is_the_canvas_over_the_scale_factor():
    cfg = Config.fromfile(ROOT / STOCK)
    assert task_of(cfg).network_input(cfg)[1:] == (96, 192)
    cfg.model.scale_factor = 5
    assert task_of(cfg).network_input(cfg)[1:] == (39, 77)  # padded
    cfg.model.type = 'EncoderDecoder'
    assert task_of(cfg).network_input(cfg)[1:] == (192, 384)
    cfg.pop('crop_size')
    with pytest.raises(ValueError, match='has no crop_size'):
        task_of(cfg).network_input(cfg)


def test_measured_once_and_again_for_other_rows(tmp_path, monkeypatch):
    file = tmp_path / 'cost.json'
    first = costs(make_grid(tmp_path), file, repeats=1)
    for title, config in CONFIGS.items():
        row, expected = first['rows'][title], count(Config.fromfile(ROOT / config))
        assert row['input'] == [96, 192]
        assert row['parameters'] == pytest.approx(1e6 * expected['M params'])
        assert row['flops'] == pytest.approx(1e9 * expected['GFLOPs'])
        assert row['milliseconds'] > 0
    assert json.loads(file.read_text()) == first

    monkeypatch.setattr(module, '_measure', lambda grid, repeats: {'measured': 'anew'})
    assert costs(make_grid(tmp_path), file) == first
    rows = {title: dict(config=config, options={'model.scale_factor': 3}) for title, config in CONFIGS.items()}
    assert costs(make_grid(tmp_path, rows=rows), file)['rows'] == {'measured': 'anew'}


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / 'cost.json').write_text('{')
    with pytest.raises(ValueError, match='cost.json is damaged .* Remove it, and it is measured anew'):
        costs(make_grid(tmp_path), tmp_path / 'cost.json')


def test_a_stock_model_is_counted_up_to_its_mask(tmp_path):
    cfg = Config.fromfile(ROOT / STOCK)
    cfg.model.type = 'EncoderDecoder'
    for key in ('scale_factor', 'low_res_labels'):
        cfg.model.pop(key)
    model = module._deployed(cfg).eval()
    assert not model.with_auxiliary_head
    assert model(torch.zeros(1, 3, 64, 96), mode='tensor').shape == (1, 9, 64, 96)
