"""The command: what it refuses, what it leaves out, and the whole chain with a real training."""

import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import toy_data
from toy_data import write_camvid, write_config

from dsrl_mm import cli
from projects.experiments import main as module
from projects.experiments import run
from projects.experiments.main import main
from projects.experiments.records import read_costs, read_records
from projects.experiments.run import Run

from .grids import write_grid, write_run, write_tools

SHORT = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 1, 'default_hooks.checkpoint.interval': 1}


@pytest.fixture
def call(tmp_path):
    """A function that calls the command with the toy data, for a grid in ``tmp_path``."""
    config = write_config(tmp_path, write_camvid(tmp_path / 'data'), crop_size=[48, 64])

    def call(*options: str, rows: dict = dict(a={}, b={}), **keys) -> None:
        rows = {title: dict(id=title, config=str(config)) | row for title, row in rows.items()}
        grid = write_grid(tmp_path, rows, **keys)
        main([str(grid), '--work-dir', str(tmp_path / 'work'), '--out', str(tmp_path / 'records'), *options])

    return call


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """Names of the runs that would have been executed. The training tool of rehearsals is a stand-in."""
    names = []
    monkeypatch.setattr(module, '_execute', lambda runs, jobs: names.extend(run.folder.name for run in runs) or [])
    monkeypatch.setattr(run, 'ROOT', write_tools(tmp_path))
    return names


@pytest.fixture
def in_this_process(monkeypatch):
    """Trainings and tests run one after the other and here; ``test_run`` starts processes. They take 321 MiB."""

    def call(tool: str, *arguments: object, log: Path) -> float:
        with log.open('a') as out, redirect_stdout(out):
            toy_data.call(getattr(cli, Path(tool).stem), *arguments)
        return 321.0

    def execute(runs: list[Run], jobs: int) -> list[str]:
        for each in runs:
            each.execute()
        return []

    monkeypatch.setattr(run, '_call', call)
    monkeypatch.setattr(module, '_execute', execute)


def test_trains_tests_records_and_tabulates(call, in_this_process, tmp_path, capsys):
    call('--seeds', '1', rows=dict(a=dict(options=SHORT)), show=['cost'])
    record = read_records(tmp_path / 'records')['a', 1]
    assert [step for step, _ in record['curve']] == record['losses']['iteration'] == [1, 2]
    # Validated and tested on the same images: after the last iteration both say the same.
    assert record['metrics']['mIoU'] == pytest.approx(record['curve'][-1][1], abs=0.01)
    assert {'IoU.Pole', 'mBF', 'BF.Pole', 'sr/PSNR', 'sr/PSNR_enlarged'} <= record['metrics'].keys()
    assert 'sr.loss_fa' in record['losses'] and record['train_seconds'] > 0
    assert record['sessions'][1]['peak_memory_mib'] == 321
    cost = read_costs(tmp_path / 'records', 'toy')['a']
    assert cost['input'] == '24x32' and cost['milliseconds'] > 0 and cost['flops'] > cost['parameters'] > 0
    assert cost['memory'] > 4 * cost['parameters']
    assert re.search(rf'\| a +\| +{record["metrics"]["mIoU"]:.2f} ', capsys.readouterr().out)
    assert (tmp_path / 'work/a-seed1/a.py').read_text() == record['config']


def test_only_what_is_left_is_done(call, tmp_path, begun, monkeypatch):
    monkeypatch.setattr(Run, 'rehearse', lambda self: None)
    write_run(tmp_path / 'records', 'a', 0, 50.0)
    call()
    assert begun == ['b-seed0', 'a-seed1', 'b-seed1']  # all rows of a seed before the next seed
    begun.clear()
    call('--only', 'a', '--seeds', '1')
    assert begun == ['a-seed1']
    begun.clear()
    write_run(tmp_path / 'records', 'a', 1, 50.0)
    call('--only', 'a')
    assert begun == []


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        (dict(config='configs/none.py'), "toy: row 'b': .*configs/none.py"),
        (dict(options={'max_iters': 9}), "toy: row 'b': .* max_iters: nothing reads it"),
        (dict(options={'test_dataloader.dataset.data_root': 'nowhere'}), "toy: row 'b': .*nowhere"),
        (dict(id='unsaved'), "toy: row 'b': default_hooks.checkpoint must write iter_N.pth"),
    ],
)
def test_mistakes_come_before_any_training(call, begun, row, message):
    with pytest.raises(ValueError, match=message):
        call(rows=dict(a={}, b=row))
    assert begun == []


def test_what_only_a_real_training_finds_comes_before_any(call, monkeypatch):
    monkeypatch.setattr(module, '_execute', lambda *_: pytest.fail('trained'))
    with pytest.raises(ValueError, match=r"row 'a': train.py ended with status 1(?s:.)* argument 'lrr'"):
        call(rows=dict(a=dict(options={'optim_wrapper.optimizer.lrr': 0.1})))


def test_unknown_rows_and_seeds_are_refused(call, begun, capsys):
    for options in (('--only', 'c'), ('--seeds', '5'), ('--jobs', '0')):
        with pytest.raises(SystemExit):
            call(*options)
    errors = capsys.readouterr().err
    assert "the grid has no {'c'}; it has seeds [0, 1] and rows ['a', 'a', 'b', 'b']" in errors
    assert 'the grid has no {5}; ' in errors
    assert '--jobs: 0 is less than 1' in errors


def test_a_run_that_was_begun_with_another_config_is_refused(call, tmp_path, begun):
    (tmp_path / 'work/a-seed1').mkdir(parents=True)
    (tmp_path / 'work/a-seed1/a.py').write_text("load_from = 'elsewhere'\n")
    with pytest.raises(
        ValueError, match="a-seed1 was begun with another config(?s:.)*load_from: 'elsewhere', today None"
    ):
        call()
    assert begun == []


def test_failed_runs_are_named_at_the_end(call, begun, monkeypatch):
    monkeypatch.setattr(module, '_execute', lambda runs, jobs: ['a-seed0'])
    monkeypatch.setattr(Run, 'rehearse', lambda self: None)
    with pytest.raises(SystemExit, match='Failed: a-seed0. The same command tries again'):
        call()
