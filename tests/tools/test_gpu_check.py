"""What is measured on a GPU, at small sizes on a CPU; the commands are called in this process."""

import importlib
import json
import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest
import toy
import toy_data
import yaml

from dsrl_mm.apis import task_of
from dsrl_mm.engine.config import read_config
from projects.experiments.config import compose, read_text
from projects.experiments.grid import load_grid
from tools.analysis_tools import gpu_check


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small network, few positions, and two grids of one row each."""
    for name, dsrl in (('baseline', False), ('dsrl', True)):
        written = toy_data.write_config(tmp_path / name, tmp_path, model=toy.model_cfg(dsrl), crop_size=toy.SIZE)
        written.rename(tmp_path / f'{name}.py')
    for name in ('a', 'b'):
        rows = dict(baseline=dict(id=f'{name}_baseline', config='baseline.py', options=dict(x=1)))
        (tmp_path / f'{name}.yml').write_text(yaml.safe_dump(dict(title=name, seeds=[0], amp=True, rows=rows)))
    changes = dict(
        POSITIONS=256,
        CONFIGS=tmp_path,
        NETWORKS=dict(toy=('baseline', 'dsrl', toy.SIZE)),
        GRIDS=[tmp_path / 'a.yml', tmp_path / 'b.yml'],
    )
    for name, value in changes.items():
        monkeypatch.setattr(gpu_check, name, value)


def _call(command, seconds):
    """Call a benchmark in this process; ``projects.experiments`` has a stand-in."""
    script, *options = map(str, command)
    if script == '-m':
        return _train(command, seconds)
    importlib.import_module(f'tools.analysis_tools.{Path(script).stem}').main(options)
    return ''


def _train(command, seconds):
    """Check the grid that is to be trained, and leave the record of one of its two rows."""
    _, _, file, *options = map(str, command)
    options = dict(zip(options[::2], options[1::2]))
    grid = yaml.safe_load(Path(file).read_text())
    assert grid['seeds'] == [*range(10)] and 'amp' not in grid
    assert [row['id'] for row in grid['rows'].values()] == ['a_baseline', 'b_baseline']
    options_of_b = grid['rows']['b_baseline: baseline']['options']
    assert options_of_b == {'x': 1, 'optim_wrapper.type': 'BFloat16OptimWrapper'}
    assert options['--jobs'] == '2' and seconds > 0
    records = Path(options['--out'], f'{Path(file).stem}.jsonl')
    records.parent.mkdir()
    run = dict(id='a_baseline', seed=0, metrics=dict(mIoU=50.0), train_seconds=2.0, config='')
    records.write_text(json.dumps(run) + '\n')
    return 'not finished in time'


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='memory is measured on Linux only')
def test_writes_all_measurements_to_one_file(small, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, '_call', _call)
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path))
    # New processes would import torch again, one for every figure.
    monkeypatch.setattr(multiprocessing, 'get_context', lambda method, fork=multiprocessing.get_context('fork'): fork)
    gpu_check.main([str(tmp_path / 'out.json')])
    result = json.loads((tmp_path / 'out.json').read_text())
    for dtype in ('float32', 'bfloat16'):
        rows = result[f'affinity loss, {dtype}']
        assert [(row['N'], row['C']) for row in rows] == [(256, 32), (256, 64)]
        assert all(row['ours s'] > 0 and row['naive s'] > 0 and row['naive MiB'] >= 0 for row in rows)
    for part, seconds in (('training step', 's per step'), ('inference', 'milliseconds')):
        baseline, dsrl = result[f'toy, {part}']
        assert 'baseline' in baseline['config'] and baseline[seconds] > 0 and dsrl[seconds] > 0
    run = dict(id='a_baseline', seed=0, metrics=dict(mIoU=50.0), train_seconds=2.0)
    assert result['CamVid at 90x120'] == dict(runs=[run], error='not finished in time')


def test_what_cannot_be_measured_is_named(small, tmp_path, monkeypatch):
    monkeypatch.delenv('CAMVID_ROOT', raising=False)
    monkeypatch.setattr(gpu_check, '_benchmarks', lambda: iter([('broken', ['nowhere.py'])]))
    gpu_check.main([str(tmp_path / 'out.json')])
    result = json.loads((tmp_path / 'out.json').read_text())
    assert 'nowhere.py' in result['broken']['error']
    assert result['CamVid at 90x120'] == dict(error='left out: CAMVID_ROOT is not set')


def test_stops_a_command_when_the_time_is_over():
    assert gpu_check._call(['-c', 'import time; time.sleep(60)'], 0.5) == 'not finished in time'


def test_inference_is_measured_on_the_configs_canvas():
    pytest.importorskip('mmpose')
    for *names, canvas in gpu_check.NETWORKS.values():
        for cfg in (read_config(gpu_check.CONFIGS / f'{name}.py') for name in names):
            _, *size = task_of(cfg).network_input(cfg)
            assert tuple(cfg.model.scale_factor * side for side in size) == canvas


def test_shipped_networks_and_grids_can_be_measured(tmp_path, monkeypatch):
    files = [gpu_check.CONFIGS / f'{name}.py' for names in gpu_check.NETWORKS.values() for name in names[:2]]
    assert all(file.is_file() for file in files)
    composed = []

    def read(command, seconds):
        grid = load_grid(command[2])
        composed.extend(read_text(compose(row, grid.amp)) for row in grid.rows[::3])
        return ''

    monkeypatch.setattr(gpu_check, '_call', read)
    monkeypatch.setenv('CAMVID_ROOT', str(tmp_path))
    assert gpu_check._train_grids(tmp_path, 1) == dict(runs=[], error='')
    assert [cfg['optim_wrapper']['type'] for cfg in composed] == ['BFloat16OptimWrapper'] * len(gpu_check.GRIDS)
    assert [cfg['model']['scale_factor'] for cfg in composed] == [4, 4]


def test_script_stops_after_ten_minutes(tmp_path):
    (tmp_path / 'timeout').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'timeout').chmod(0o755)
    env = dict(os.environ, PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    script = Path(gpu_check.__file__).with_suffix('.sh')
    called = subprocess.run(['bash', script, 'a b.json'], env=env, capture_output=True, text=True)
    limit, *command = called.stdout.splitlines()[1:]
    assert float(limit) < 600
    assert command == ['python', str(script.with_suffix('.py')), 'a b.json']
    assert 'Usage: ' in subprocess.run(['bash', script], capture_output=True, text=True).stderr
