"""The grid file: the runs that it stands for, and what is wrong with it."""

import re
from pathlib import Path

import pytest
from mmengine.config import Config

from dsrl_mm import cli
from dsrl_mm.analysis.experiments.cost import network_input
from dsrl_mm.analysis.experiments.grid import ROOT, Row, Run, load_grid

from .grids import CONFIGS, make_grid, write_grid


def test_every_row_of_a_seed_before_the_next_seed(tmp_path):
    grid = make_grid(tmp_path, amp=True)
    names = ['baseline-seed0', 'dsrl-seed0', 'baseline-seed1', 'dsrl-seed1']
    assert [run.name for run in grid.runs()] == names
    assert all(run.amp for run in grid.runs())
    assert [run.name for run in grid.runs(only=['DSRL'])] == names[1::2]
    assert [run.name for run in grid.runs(only=['dsrl', 'baseline'], seeds=[1])] == names[2:]


def test_titles_become_file_names():
    assert [Row(title, '').slug for title in ('+ SSSR + SISR', 'w1 = 0.5')] == ['sssr-sisr', 'w1-0-5']


def test_ids_are_of_the_settings():
    one = Run(Row('a', 'configs/x.py', dict(a=1, b=2)), 0, amp=True)
    assert one.id.startswith('x-seed0-')
    assert one.id == Run(Row('b', 'configs/x.py', dict(b=2, a=1), 'a series'), 0, amp=True).id
    others = (Run(one.row, 0, False), Run(one.row, 1, True), Run(Row('a', 'configs/x.py', dict(a=1)), 0, True))
    assert len({run.id for run in (one, *others)}) == 4


def test_arguments_are_what_the_training_command_understands():
    options = {
        'model.decode_head.upsampler.channels': 16,
        'model.sr_aux.fa': None,
        'model.sr_aux.head.in_index': [0, 1],
        'crop_size': [96, 192],
        'optim_wrapper.optimizer.lr': 0.25,
    }
    arguments = Run(Row('a', CONFIGS['DSRL'], options), seed=7, amp=True).arguments('somewhere')
    cfg = cli.training_config(arguments)
    expected = Config.fromfile(ROOT / CONFIGS['DSRL'])
    expected.merge_from_dict(options | {'randomness.seed': 7})
    for key in ('model', 'crop_size', 'randomness'):
        assert cfg[key] == expected[key]
    assert cfg.optim_wrapper.optimizer.lr == 0.25
    assert cfg.optim_wrapper.type != 'OptimWrapper'  # --amp
    assert cfg.work_dir == 'somewhere'


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(jobs=2), r"unknown key 'jobs'; known are 'name', 'title', 'seeds', 'rows', 'amp'"),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], input=3))), r"row 'a' has the unknown key 'input'"),
        (dict(rows=dict(a=dict(options={}))), "row 'a' lacks config"),
        (dict(rows=dict(a='x.py')), "row 'a' must be a mapping with the keys config"),
        (
            dict(rows={'+ A': dict(config=CONFIGS['DSRL']), 'a': dict(config=CONFIGS['DSRL'])}),
            r"\['\+ A', 'a'\] do not",
        ),
        (dict(rows={'+': dict(config=CONFIGS['DSRL'])}), 'must differ in letters or digits'),
        (
            dict(rows=dict(a=dict(config=CONFIGS['DSRL']), b=dict(config=CONFIGS['DSRL']))),
            r"rows \['a', 'b'\] have the same config and options",
        ),
        (dict(rows=dict(a=dict(config=CONFIGS['DSRL'], options=dict(model=dict(x=1))))), 'model.KEY: VALUE'),
    ],
)
def test_mistakes_are_named(tmp_path, keys, message):
    with pytest.raises(ValueError, match=message):
        load_grid(write_grid(tmp_path, **keys))


def test_missing_key_and_config_are_named(tmp_path):
    (tmp_path / 'short.yml').write_text('name: x\nrows: {}')
    with pytest.raises(ValueError, match='lacks title and seeds'):
        load_grid(tmp_path / 'short.yml')
    with pytest.raises(FileNotFoundError, match="row 'a': there is no config configs/none.py"):
        load_grid(write_grid(tmp_path, rows=dict(a=dict(config='configs/none.py'))))


def test_unknown_rows_and_seeds_are_named(tmp_path):
    grid = make_grid(tmp_path)
    with pytest.raises(ValueError, match=r"no row 'SSSR'; known are 'baseline', 'baseline', 'DSRL', 'dsrl'"):
        grid.runs(only=['SSSR'])
    with pytest.raises(ValueError, match=r'no seed 5; known are 0, 1'):
        grid.runs(seeds=[0, 5])


def test_the_readmes_grid(tmp_path):
    (example,) = re.findall(r'```yaml\n(.*?)```', (ROOT / 'README.md').read_text(encoding='utf-8'), re.DOTALL)
    (tmp_path / 'grid.yml').write_text(example)
    grid = load_grid(tmp_path / 'grid.yml')
    configs = [cli.training_config(run.arguments('')) for run in grid.runs(seeds=[0])]
    assert [network_input(cfg) for cfg in configs] == [(180, 240), (120, 160)]


@pytest.mark.parametrize('file', sorted((ROOT / 'configs/experiments').glob('*.yml')), ids=lambda file: file.stem)
def test_shipped_grids(file: Path):
    grid = load_grid(file)
    assert grid.name == file.stem
    for run in grid.runs(seeds=grid.seeds[:1]):
        cli.training_config(run.arguments(''))
