"""Runs as processes, with stand-ins for the tools."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from projects.experiments import run as module
from projects.experiments.config import ROOT
from projects.experiments.log import course, read_log
from projects.experiments.records import read_records
from projects.experiments.run import Run, run_all

from .grids import count, write_run, write_tools

TEXT = "train_cfg = {'max_iters': 2}\nmodel = {'sr_aux': {'head': {'type': 'SISRAuxHead'}}}\n"


@pytest.fixture
def do(tmp_path, monkeypatch):
    """A function that does runs of given ids, with the stand-ins; gives the names of those that fail."""
    monkeypatch.setattr(module, 'ROOT', write_tools(tmp_path))
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)

    def do(*ids, seeds=(0,), jobs=2, text=TEXT, watch=lambda working: None):
        paths = (tmp_path / 'work', tmp_path / 'records')
        runs = [Run(id_, seed, text, *paths, 'toy') for seed in seeds for id_ in ids]
        return [run.name for run in run_all(runs, jobs, watch, pause=0.05)]

    return do


def test_trains_tests_and_records(do, tmp_path):
    assert do('a', seeds=[7]) == []
    folder, record = tmp_path / 'work/a-seed7', read_records(tmp_path / 'records')['a']
    assert record['config'] == TEXT.splitlines()
    run = record['runs']['7']
    assert run['metrics'] == {'mIoU': 50.0, 'IoU.a': None, 'options': ['--sr-metrics']}
    assert (run['curve'], run['train_seconds']) == ([[2, 50.0]], 6.0)
    assert run['losses'] == dict(iteration=[1, 2], loss=[2.0, 1.0])
    (session,) = run['sessions']
    assert {'torch', 'mmseg', 'mmengine'} == session['versions'].keys()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # a child's peak begins with its parent's
    assert (
        1 < session['peak_memory_mib'] < max(1000, own + 1)
        and session['device']
        and 'commit' in session
        and 'tested_by' in run
    )
    assert [file.name for file in folder.glob('train/*.pth')] == ['iter_2.pth']
    assert (folder / 'log.txt').read_text() == "a ['--resume', '--cfg-options', 'randomness.seed=7'] 1\n"

    # With a result, nothing is done; without one, the checkpoint is tested again, but not trained.
    os.remove(tmp_path / 'records/toy.json')
    for _ in range(2):
        do('a', seeds=[7])
    assert read_records(tmp_path / 'records')['a']['runs']['7'] == run
    assert count(tmp_path / 'work') == {'a-seed7': 1}
    # Without the checkpoint, another session trains.
    os.remove(tmp_path / 'records/toy.json')
    os.remove(folder / 'train/iter_2.pth')
    do('a', seeds=[7])
    assert len(read_records(tmp_path / 'records')['a']['runs']['7']['sessions']) == 2


def test_images_are_only_compared_where_there_are_some(do, tmp_path):
    for id_, aux in dict(without=None, labels=dict(fa=dict(type='FALoss'))).items():
        do(id_, text=f"train_cfg = {{'max_iters': 2}}\nmodel = {{'sr_aux': {aux}}}\n")
        assert read_records(tmp_path / 'records')[id_]['runs']['0']['metrics']['options'] == []


def test_a_failure_stops_no_other_and_is_tried_again(do, tmp_path, capsys):
    for times in (1, 2):
        assert do('fails', 'a', jobs=1) == ['fails-seed0']
        printed = capsys.readouterr().out
        assert 'fails-seed0 failed: ' in printed and f'The end of {tmp_path}/work/fails-seed0/log.txt:\n' in printed
        assert printed.endswith('no luck\n')
        assert count(tmp_path / 'work') == {'a-seed0': 1, 'fails-seed0': times}
    assert [*read_records(tmp_path / 'records')] == ['a']


def test_a_result_outlives_a_damaged_file_of_records(do, tmp_path, capsys):
    write_run(tmp_path / 'records', 'b', 0, 50.0)
    file = tmp_path / 'records/toy.json'
    content = file.read_text()

    def damage(working):
        file.write_text(content[:20])

    assert do('a', watch=damage) == ['a-seed0']
    assert f'{file} is damaged' in capsys.readouterr().out
    file.write_text(content)
    assert do('a') == [] and count(tmp_path / 'work') == {'a-seed0': 1}
    assert [*read_records(tmp_path / 'records')] == ['b', 'a']


def test_in_order_and_no_more_at_a_time_than_allowed(do):
    seen = []
    do('a', 'b', seeds=[0, 1], watch=lambda working: seen.append([run.name for run in working]))
    assert max(map(len, seen)) == 2
    assert [*dict.fromkeys(name for names in seen for name in names)] == ['a-seed0', 'b-seed0', 'a-seed1', 'b-seed1']


def test_what_another_runner_is_at_waits(do, tmp_path):
    (tmp_path / 'work/a-seed0').mkdir(parents=True)
    with open(tmp_path / 'work/a-seed0/lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def release(working):
            if 'b' in read_records(tmp_path / 'records'):
                fcntl.flock(lock, fcntl.LOCK_UN)
            else:
                assert 'a-seed0' not in count(tmp_path / 'work')

        assert do('a', 'b', jobs=1, watch=release) == []
    assert [*read_records(tmp_path / 'records')] == ['b', 'a']


def program(tmp_path: Path, *ids: str) -> subprocess.Popen:
    """A runner of its own."""
    code = f"""
import signal, sys
from pathlib import Path
from projects.experiments import run
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
run.ROOT = Path({str(tmp_path)!r})
runs = [run.Run(id_, 0, {TEXT!r}, run.ROOT / 'work', run.ROOT / 'records', 'toy') for id_ in {ids!r}]
run.run_all(runs, 2, lambda working: None, pause=0.05)
"""
    return subprocess.Popen([sys.executable, '-c', code], cwd=ROOT)


def wait_for(condition) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_runners_share_the_runs(do, tmp_path):
    ids = [f'id{i}' for i in range(6)]
    other = program(tmp_path, *ids)
    assert do(*ids) == [] and other.wait(120) == 0
    assert count(tmp_path / 'work') == {f'{id_}-seed0': 1 for id_ in ids}
    assert {*read_records(tmp_path / 'records')} == {*ids}


def locked(folder: Path) -> bool:
    with open(folder / 'lock') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_an_end_ends_all_and_a_kill_leaves_the_folder_locked(do, tmp_path, number):
    runner = program(tmp_path, 'waits1', 'waits2')
    wait_for(lambda: len(count(tmp_path / 'work')) == 2)
    runner.send_signal(number)
    runner.wait(120)
    folders = [tmp_path / f'work/waits{i}-seed0' for i in (1, 2)]
    # The trainings hold the locks: with a runner that could not stop them, they go on.
    assert [locked(folder) for folder in folders] == [number == signal.SIGKILL] * 2
    for process in Path('/proc').glob('[0-9]*/cmdline'):
        if str(tmp_path) in process.read_text(errors='replace'):
            os.kill(int(process.parent.name), signal.SIGKILL)


def test_logs_of_several_sessions(tmp_path):
    def write(session: str, *entries: dict, rest: str = '') -> None:
        file = tmp_path / session / 'vis_data/scalars.json'
        file.parent.mkdir(parents=True)
        file.write_text(''.join(json.dumps(entry) + '\n' for entry in entries) + rest)

    assert read_log(tmp_path).index[-1] == 0
    trained = [
        dict(loss=float(step), **{'sr.loss_fa': 0.5}, time=step / 10, data_time=0.1, step=step) for step in (1, 2, 3)
    ]
    write('20260101', *trained, dict(mIoU=40.0, step=3))
    write('20260102', dict(loss=7.0, time=0.2, step=3), dict(mIoU=45.0, step=3), rest='{"loss": 1.0, "st')
    log = read_log(tmp_path)
    assert log.index[-1] == 3 and log.loc[3, 'loss'] == 7.0 and log.memory.isna().all()
    told = course(log, points=2)
    assert told['curve'] == [(3, 45.0)]
    assert told['losses'] == {'iteration': [1, 3], 'loss': [1.0, 7.0], 'sr.loss_fa': [0.5, 0.5]}
    assert told['train_seconds'] == pytest.approx(3 * 0.2)
