"""The benchmark of training steps trains what it times."""

import json
import re

import torch
import toy
import toy_data
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from tools.analysis_tools import benchmark_step as step_benchmark


def test_steps_update_the_weights(tmp_path, monkeypatch):
    wrappers = []
    build = step_benchmark.build_optim_wrapper
    monkeypatch.setattr(
        step_benchmark, 'build_optim_wrapper', lambda *args: wrappers.append(build(*args)) or wrappers[-1]
    )
    config = toy_data.write_config(tmp_path, tmp_path, crop_size=toy.SIZE)
    step = step_benchmark.training_step(Config.fromfile(config))
    before = [p.clone() for p in wrappers[0].optimizer.param_groups[0]['params']]
    step()
    after = wrappers[0].optimizer.param_groups[0]['params']
    assert isinstance(wrappers[0], OptimWrapper)
    assert sum(not torch.equal(a, b) for a, b in zip(before, after)) > len(before) / 2


def test_table_compares_with_the_first(tmp_path, capsys, monkeypatch):
    files = [str(toy_data.write_config(tmp_path / name, tmp_path, crop_size=toy.SIZE)) for name in 'ab']
    timed = {files[0]: [2.0, 2.5, 4.0], files[1]: [5.0, 3.5, 3.0]}
    monkeypatch.setattr(step_benchmark, 'time_in_turn', lambda steps, repeats: {name: timed[name] for name in steps})
    step_benchmark.main([*files, '--json', str(tmp_path / 'steps.json')])
    rows = re.findall(r'toy\.py +\| +([\d.]+) +\| +([\d.]+) +\| +([\d.]+) \|', capsys.readouterr().out)
    assert rows == [('2.500', '2.000', '1.000'), ('3.500', '2.000', '1.400')]
    assert [row['ratio'] for row in json.loads((tmp_path / 'steps.json').read_text())] == [1, 1.4]
