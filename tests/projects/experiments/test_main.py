"""The whole chain: from a grid file to results, table and pictures, with real trainings and with stand-ins."""

import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from toy_data import logged

from projects.experiments import main as module
from projects.experiments.grid import ROOT
from projects.experiments.main import main
from projects.experiments.run import TAKEN, _metrics, busy, command, execute
from projects.street_scenes.scenes import write_scenes

from .grids import CONFIGS, make_grid, write_grid, write_result
from .test_schedule import alive

#: Two iterations with a test and a checkpoint after each.
SHORT = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 1,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': 1,
    'train_dataloader.batch_size': 2,
}
#: Stands in for :mod:`projects.experiments.run`: one row fails.
STAND_IN = """
import json, pathlib, sys
run, work_dir, result = sys.argv[1:]
run = json.loads(run)
print('seed', run['seed'])
if run['row']['title'] == 'DSRL':
    sys.exit('no luck')
"""


@pytest.fixture(autouse=True)
def _same_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def arguments(tmp_path):
    """A function that gives the command line for a grid in ``tmp_path``."""

    def build(*options: str, **keys) -> list[str]:
        grid = write_grid(tmp_path, **keys)
        return [str(grid), '--work-dir', str(tmp_path / 'work'), '--out', str(tmp_path / 'out'), *options]

    return build


def test_trains_tests_and_tabulates(arguments, tmp_path, monkeypatch, capsys):
    write_scenes(tmp_path / 'scenes', splits=dict(train=4, val=2))
    monkeypatch.setenv('STREET_SCENES_ROOT', str(tmp_path / 'scenes'))
    command = arguments('--seeds', '1', rows=dict(DSRL=dict(config=CONFIGS['DSRL'], options=SHORT, series='DSRL')))
    main(command)

    out = tmp_path / 'out/toy'
    (work,) = (tmp_path / 'work').iterdir()
    (file,) = (tmp_path / 'out/runs').iterdir()
    assert file.name == f'{work.name}.json'
    result = json.loads(file.read_text())
    assert result['config'] == CONFIGS['DSRL'] and result['options'] == SHORT and result['seed'] == 1
    (session,) = result['sessions']
    assert [step for step, _ in result['curve']] == result['losses']['iteration'] == [1, 2]
    # Scenes are validated and tested on alike: after the last iteration both must say the same.
    assert result['metrics']['mIoU'] == pytest.approx(result['curve'][-1][1], abs=0.01)
    assert {'IoU.pole', 'mBF', 'BF.pole', 'mBIoU', 'sr/PSNR', 'sr/PSNR_enlarged'} <= result['metrics'].keys()
    assert 'sr.loss_fa' in result['losses']
    assert result['train_seconds'] > 0
    assert 100 < session['peak_memory_mib'] < 10_000
    assert {'torch', 'mmseg', 'mmengine'} == session['versions'].keys()
    assert str(tmp_path) not in file.read_text()
    assert [file.name for file in work.glob('*.pth')] == ['iter_2.pth']
    assert '| DSRL ' in (out / 'summary.md').read_text(encoding='utf-8')
    assert sorted(file.stem for file in out.glob('*.png')) == ['curves', 'sizes']  # bars are of differences

    # A run that lost its result is tested again, but not trained.
    file.unlink()
    main(command)
    again = json.loads(file.read_text())
    assert again == result
    assert len([*work.glob('*/vis_data')]) == 1

    # One that was interrupted after its first iteration goes on with the second.
    file.unlink()
    saved = torch.load(work / 'iter_2.pth', weights_only=False)
    saved['meta']['iter'] = 1
    torch.save(saved, work / 'iter_1.pth')
    (work / 'iter_2.pth').unlink()
    (work / 'last_checkpoint').write_text(str(work / 'iter_1.pth'))
    main(command)
    assert len(json.loads(file.read_text())['sessions']) == 2
    assert [entry['iter'] for entry in logged(work) if 'loss' in entry] == [2]


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Trainings are :data:`STAND_IN`; nothing is measured before them."""
    commands = []

    def command(run, *files):
        commands.append(run.name)
        stock = real(run, *files)
        return [sys.executable, '-c', STAND_IN, *stock[3:]]

    def costs(grid, file):
        file.parent.mkdir(parents=True, exist_ok=True)
        return dict(device='', threads=1, rows={})

    real = module.command
    monkeypatch.setattr(module, 'command', command)
    monkeypatch.setattr(module, 'costs', costs)
    write_scenes(tmp_path / 'scenes', splits=dict(train=4, val=2))
    monkeypatch.setenv('STREET_SCENES_ROOT', str(tmp_path / 'scenes'))
    return commands


def test_failed_runs_are_shown_and_tried_again(arguments, tmp_path, stand_in, capsys):
    for _ in range(2):
        with pytest.raises(SystemExit, match='Failed: dsrl-seed0. The same command tries again'):
            main(arguments('--only', 'DSRL', '--seeds', '0'))
        printed = capsys.readouterr().out
        assert f'dsrl-seed0 failed. The end of {tmp_path}/work/street_scenes-seed0-' in printed
        assert 'log.txt:\nseed 0\nno luck' in printed
    assert stand_in == ['dsrl-seed0'] * 2
    assert (tmp_path / 'out/toy/summary.md').exists()


def test_trainings_go_on_without_tables(arguments, stand_in, monkeypatch, capsys):
    def fail(*_):
        raise OSError('No space left on device')

    monkeypatch.setattr(module, 'summarize', fail)
    with pytest.raises(OSError, match='No space left'):  # the last table, after all trainings
        main(arguments('--only', 'baseline', '--jobs', '1'))
    assert stand_in == ['baseline-seed0', 'baseline-seed1']
    assert 'The tables were not written: OSError(' in capsys.readouterr().out


def test_a_damaged_result_is_named(arguments, tmp_path, stand_in):
    run = make_grid(tmp_path).runs()[0]
    write_result(run, tmp_path / 'out/runs', 50.0)
    file = tmp_path / f'out/runs/{run.id}.json'
    file.write_text(file.read_text()[:40])
    with pytest.raises(ValueError, match=rf'{file.name} is damaged .* Remove it'):
        main(arguments())
    assert stand_in == []


def test_only_what_is_left_is_done(arguments, tmp_path, stand_in):
    write_result(make_grid(tmp_path).runs()[0], tmp_path / 'out/runs', 50.0)
    main(arguments('--only', 'baseline', '--jobs', '1'))
    assert stand_in == ['baseline-seed1']
    main(arguments('--summary-only'))
    assert stand_in == ['baseline-seed1']


def test_mistakes_come_before_any_training(arguments, tmp_path, stand_in):
    rows = {title: dict(config=config) for title, config in CONFIGS.items()}
    rows['DSRL']['options'] = {'model.scale_factor': 1.5}
    with pytest.raises(ValueError, match='scale_factor'):
        main(arguments(rows=rows))
    epochs = tmp_path / 'epochs.py'
    loop = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=1)
    epochs.write_text(f'_base_ = {str(ROOT / CONFIGS["DSRL"])!r}\ntrain_cfg = {loop}')
    rows['DSRL'] = dict(config=str(epochs))
    with pytest.raises(ValueError, match='no train_cfg.max_iters'):
        main(arguments(rows=rows))
    for options, error, message in (
        ({'optim_wrapper.optimizer.lrr': 0.1}, TypeError, 'lrr'),
        ({'param_scheduler.0.powr': 1}, TypeError, 'powr'),
        ({'train_cfg.val_intervall': 1}, TypeError, 'val_intervall'),
        ({'default_hooks.checkpoint.save_last': False}, ValueError, 'neither save_last'),
        ({'default_hooks.checkpoint.by_epoch': True}, ValueError, 'by_epoch=False'),
        ({'default_hooks.checkpoint.type': 'CheckpointHook'}, ValueError, 'type="SafeCheckpointHook"'),
        ({'model.sr_aux.head.in_channels': [7, 7]}, ValueError, 'do not exist'),  # seen once images go through
    ):
        rows['DSRL'] = dict(config=CONFIGS['DSRL'], options=options)
        with pytest.raises(error, match=message):
            main(arguments(rows=rows))
    with pytest.raises(ValueError, match="no row 'SSSR'"):
        main(arguments('--only', 'SSSR'))
    with pytest.raises(SystemExit):
        main(arguments('--jobs', '0'))
    assert stand_in == []


def test_missing_data_come_before_any_training(arguments, monkeypatch, stand_in):
    monkeypatch.setenv('STREET_SCENES_ROOT', 'nowhere')
    with pytest.raises(FileNotFoundError, match='nowhere'):
        main(arguments())


def test_missing_validation_data_come_before_any_training(arguments, tmp_path, stand_in):
    for image in (tmp_path / 'scenes').glob('*/val/*'):
        image.unlink()
    with pytest.raises(FileNotFoundError, match='val_dataloader.* is empty'):
        main(arguments())
    assert stand_in == []


@pytest.mark.parametrize('several', [False, True])
def test_only_what_to_ignore_is_the_evaluator_s(several):
    stock = dict(type='IoUMetric', iou_metrics=['mFscore'], ignore_index=0)
    cfg = Config(dict(test_evaluator=[dict(type='Other'), stock] if several else stock))
    assert [metric['ignore_index'] for metric in _metrics(cfg)] == [0, 0]
    assert [metric['type'] for metric in _metrics(cfg)] == ['ClassIoUMetric', 'BoundaryMetric']


def test_a_folder_is_one_process_s(tmp_path):
    run, result = make_grid(tmp_path).runs()[0], tmp_path / 'result.json'
    with open(tmp_path / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.run(command(run, tmp_path, result), capture_output=True, text=True)
    assert process.returncode == TAKEN
    assert process.stdout == f'Another process trains in {tmp_path}: left to it\n'
    assert not (tmp_path / 'sessions.json').exists()  # nothing was trained


def test_busy_while_another_process_trains(tmp_path):
    assert not busy(tmp_path)
    with open(tmp_path / 'lock', 'w') as lock:
        assert not busy(tmp_path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert busy(tmp_path)
    assert not busy(tmp_path)


def test_a_config_that_changed_since_is_not_trained_under_its_old_name(tmp_path):
    run = make_grid(tmp_path).runs()[0]
    with pytest.raises(SystemExit, match=f'has changed since the grid was read: now it is {run.id}'):
        execute(run, tmp_path / 'street_scenes_baseline-seed0-01234567', tmp_path / 'result.json')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_all(arguments, tmp_path, number):
    program = f"""
import signal, sys
from projects.experiments import main
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever started the tests may ignore it
main._check = lambda run: 1
main.costs = lambda grid, file: None
main.command = lambda run, *files: ['bash', '-c', 'sleep 60 & echo $! > {tmp_path}/' + run.name + '.pid; wait']
main.main(sys.argv[1:])
"""
    process = subprocess.Popen([sys.executable, '-c', program, *arguments()])
    try:
        pids = [tmp_path / f'{name}-seed0.pid' for name in ('baseline', 'dsrl')]
        while not all(file.exists() and file.read_text() for file in pids):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(20) == 128 + number
        time.sleep(0.2)
        assert not any(alive(int(file.read_text())) for file in pids)
        assert len([*Path(tmp_path).glob('*.pid')]) == 2
    finally:
        process.kill()
