import json
import re

import pytest
import torch
import toy
from mmengine.config import Config
from uhr.toy_isd import isd_cfg

from tools.analysis_tools import benchmark_inference


@pytest.fixture
def configs(tmp_path):
    """A baseline and its ISDNet."""
    paths = []
    for name, model in (('baseline', toy.model_cfg(dsrl=False)), ('isd', isd_cfg())):
        Config(dict(model=model, default_scope='mmseg')).dump(tmp_path / f'{name}.py')
        paths.append(str(tmp_path / f'{name}.py'))
    return paths


def test_predicts_on_the_canvas_without_what_training_needs(configs, monkeypatch):
    seen = []
    monkeypatch.setattr(benchmark_inference, '_predict', lambda *args: seen.append(args))
    benchmark_inference.prediction(configs[1], (40, 56), {'model.channels_last': True})()
    ((model, canvas, amp),) = seen
    assert canvas.shape == (1, 3, 40, 56) and not amp and not model.training and model.channels_last
    assert model.sr_aux is None
    with torch.no_grad():
        assert model(canvas).shape == (1, toy.NUM_CLASSES, 40, 56)


def test_table_compares_with_the_first(configs, tmp_path, capsys):
    benchmark_inference.main([*configs, '--shape', '48', '64', '--repeats', '1', '--json', str(tmp_path / 'rows.json')])
    first, second = json.loads((tmp_path / 'rows.json').read_text())
    assert first['of the first'] == 1
    assert second['of the first'] == second['milliseconds'] / first['milliseconds']
    shown = re.findall(r'\| (\w+) +\| +([\d.]+) \| +([\d.]+) \|', capsys.readouterr().out)
    assert shown == [
        ('baseline', f'{first["milliseconds"]:.1f}', '1.000'),
        ('isd', f'{second["milliseconds"]:.1f}', f'{second["of the first"]:.3f}'),
    ]
