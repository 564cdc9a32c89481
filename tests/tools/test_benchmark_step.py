"""The benchmark of training steps trains what it times."""

import re

import pytest
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


def test_table_compares_with_the_first(tmp_path, capsys):
    files = [toy_data.write_config(tmp_path / name, tmp_path, crop_size=toy.SIZE) for name in 'ab']
    step_benchmark.main([*map(str, files), '--repeats', '1'])
    rows = re.findall(r'toy\.py +\| +([\d.]+) +\| +([\d.]+) +\| +([\d.]+) \|', capsys.readouterr().out)
    assert len(rows) == 2
    (first, _, one), (second, _, ratio) = ([float(number) for number in row] for row in rows)
    assert one == 1
    assert ratio == pytest.approx(second / first, rel=0.05)
