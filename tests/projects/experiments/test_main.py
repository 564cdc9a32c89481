"""The command: what it refuses, what it leaves out, and the whole chain with a real training."""

import re

import pytest
from toy_data import write_camvid, write_config

from projects.experiments import main as module
from projects.experiments.main import Watch, main
from projects.experiments.records import read_costs, read_records
from projects.experiments.run import Run

from .grids import write_grid, write_run

SHORT = {'train_cfg.max_iters': 2, 'train_cfg.val_interval': 1, 'default_hooks.checkpoint.interval': 1}


@pytest.fixture(autouse=True)
def _same_signals(monkeypatch):
    monkeypatch.setattr(module.signal, 'signal', lambda *_: None)


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
def begun(monkeypatch):
    """Names of the runs that would have been done."""
    names = []
    monkeypatch.setattr(module, 'run_all', lambda runs, jobs, watch: names.extend(run.name for run in runs) or [])
    return names


def test_trains_tests_records_and_tabulates(call, tmp_path, capsys, monkeypatch):
    call('--seeds', '1', rows=dict(a=dict(options=SHORT)), show=['cost'])
    record = read_records(tmp_path / 'records')['a']
    run = record['runs']['1']
    assert [step for step, _ in run['curve']] == run['losses']['iteration'] == [1, 2]
    # Validated and tested on the same images: after the last iteration both say the same.
    assert run['metrics']['mIoU'] == pytest.approx(run['curve'][-1][1], abs=0.01)
    assert {'IoU.Pole', 'mBF', 'BF.Pole', 'sr/PSNR', 'sr/PSNR_enlarged'} <= run['metrics'].keys()
    assert 'sr.loss_fa' in run['losses'] and run['train_seconds'] > 0
    assert 100 < run['sessions'][0]['peak_memory_mib'] < 10_000
    cost = read_costs(tmp_path / 'records', 'toy')['rows']['a']
    assert cost['input'] == '24x32' and cost['milliseconds'] > 0 and cost['flops'] > cost['parameters'] > 0
    assert re.search(rf'\| a +\| +{run["metrics"]["mIoU"]:.2f} ', capsys.readouterr().out)
    # The record's text is a config that trains, the one that was trained.
    trained = (tmp_path / 'work/a-seed1/a.py').read_text()
    assert trained.splitlines() == record['config'] and "'max_iters': 2" in trained


def test_only_what_is_left_is_done(call, tmp_path, begun, monkeypatch):
    monkeypatch.setattr(module, '_check', lambda cfg: None)
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
        (dict(config='configs/none.py'), "row 'b': .*configs/none.py"),
        (dict(options={'model.scale_factor': 1.5}), "row 'b': .*scale_factor"),
        (dict(options={'crop_sizes': [9, 9]}), "row 'b': the option crop_sizes changes nothing"),
        (
            dict(options={'optim_wrapper.optimizer.lrr': 0.1}),
            r'(?s)lrr.*nearest name .* is optim_wrapper.optimizer.lr$',
        ),
        (dict(options={'train_cfg.val_intervall': 1}), 'val_intervall'),
        (dict(options={'param_scheduler': [dict(type='PolyLR', powr=1)]}), 'powr'),
        (dict(options={'default_hooks.checkpoint.save_last': False}), 'neither save_last'),
        (dict(options={'default_hooks.checkpoint.by_epoch': True}), 'by_epoch=False'),
        (dict(options={'default_hooks.checkpoint.type': 'CheckpointHook'}), 'type="SafeCheckpointHook"'),
        (dict(options={'model.sr_aux.head.in_channels': [7, 7]}), "row 'b'"),  # seen once images go through
        (dict(options={'train_dataloader.dataset.data_root': 'nowhere'}), 'nowhere'),
        (
            dict(options=dict(train_cfg=dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1))),
            'train_cfg.max_iters is missing',
        ),
    ],
)
def test_mistakes_come_before_any_training(call, begun, row, message):
    with pytest.raises(ValueError, match=message):
        call('--only', 'b', rows=dict(a={}, b=row))
    assert begun == []


def test_missing_validation_data_come_before_any_training(call, tmp_path, begun):
    for image in tmp_path.glob('data/images/val/*'):
        image.unlink()
    with pytest.raises(ValueError, match="row 'a': val_dataloader"):
        call()
    assert begun == []


def test_unknown_rows_seeds_and_jobs_are_refused(call, begun, capsys):
    for options in (('--only', 'c'), ('--seeds', '5'), ('--jobs', '0')):
        with pytest.raises(SystemExit):
            call(*options)
    errors = capsys.readouterr().err
    assert "the grid has no {'c'}; it has ['a', 'a', 'b', 'b']" in errors and 'has no {5}; it has [0, 1]' in errors


def test_a_run_that_was_begun_with_another_config_is_refused(call, tmp_path, begun):
    (tmp_path / 'work/a-seed0').mkdir(parents=True)
    (tmp_path / 'work/a-seed0/a.py').write_text((tmp_path / 'toy.py').read_text() + '\nload_from = "elsewhere"')
    with pytest.raises(
        ValueError, match="a-seed0 was begun with another config(?s:.)*load_from: 'elsewhere', today None"
    ):
        call()


def test_failed_runs_are_named_at_the_end(call, begun, monkeypatch):
    monkeypatch.setattr(module, 'run_all', lambda runs, jobs, watch: runs[:1])
    monkeypatch.setattr(module, '_check', lambda cfg: None)
    with pytest.raises(SystemExit, match='Failed: a-seed0. The same command tries again'):
        call()


def test_progress_without_a_terminal(tmp_path, capsys):
    runs = [Run(id_, 0, "train_cfg = {'max_iters': 8}\n", tmp_path, tmp_path, 'toy') for id_ in ('a', 'b')]
    watch = Watch(runs, every=0)
    log = tmp_path / 'a-seed0/train/1/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 1.0, "time": 1.0, "step": 4}\n{"mIoU": 41.234, "step": 4}\n')
    with watch.bar:
        watch(runs[:1])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith('a-seed0 4/8 mIoU 41.23; 4 of 16 iterations, time left: ')
