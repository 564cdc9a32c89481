"""Runs as processes, with stand-ins for the tools."""

import os
import re
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import pytest
from toy_data import start_process

from projects.experiments import run as module
from projects.experiments.config import ROOT
from projects.experiments.main import _execute
from projects.experiments.records import read_records
from projects.experiments.run import Run

from .grids import write_grid, write_tools

TEXT = "train_cfg = {'max_iters': 2}\nmodel = {'sr_aux': {'head': {'type': 'SISRAuxHead'}}}\n"


@pytest.fixture
def do(tmp_path, monkeypatch):
    """A function that executes runs of given ids, with the stand-ins; gives the names of those that fail."""
    monkeypatch.setattr(module, 'ROOT', write_tools(tmp_path))
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)

    def do(*ids, seeds=(0,), jobs=2, text=TEXT):
        file = tmp_path / 'records/toy.jsonl'
        runs = [Run(id_, seed, text, tmp_path / f'work/{id_}-seed{seed}', file) for seed in seeds for id_ in ids]
        return _execute(runs, jobs)

    return do


def notes(root: Path) -> list[str]:
    """What the trainings did, in order."""
    file = root / 'notes'
    return file.read_text().splitlines() if file.exists() else []


def test_trains_tests_and_records(do, tmp_path):
    assert do('a', seeds=[7]) == []
    folder, file = tmp_path / 'work/a-seed7', tmp_path / 'records/toy.jsonl'
    run = read_records(file.parent)['a', 7]
    assert run['config'] == TEXT == (folder / 'a.py').read_text()
    assert run['metrics'] == {'mIoU': 50.0, 'mBF': 25.0, 'sr': 1}
    assert (run['curve'], run['train_seconds']) == ([[2, 50.0]], 6.0)
    assert run['losses'] == dict(iteration=[1, 2], loss=[2.0, 1.0])
    begin, end = run['sessions']
    assert {'torch', 'mmseg', 'mmengine'} == begin['versions'].keys() and begin['device'] and 'commit' in begin
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # a child's peak begins with its parent's
    assert 1 < end['peak_memory_mib'] < max(1000, own + 1)
    assert (folder / 'log.txt').read_text() == "['--resume', '--cfg-options', 'randomness.seed=7'] 1\n"

    # Without a record, the checkpoint is tested again, but not trained. The last test counts.
    file.unlink()
    (folder / 'test/0').mkdir()
    (folder / 'test/0/0.json').write_text('{}')
    assert do('a', seeds=[7]) == []
    assert read_records(file.parent)['a', 7] == run and notes(tmp_path) == ['start a', 'end a']
    # Without the checkpoint, another session trains.
    (folder / 'train/iter_2.pth').unlink()
    do('a', seeds=[7])
    assert len(read_records(file.parent)['a', 7]['sessions']) == 4


def test_memory_of_a_gpu(do, tmp_path):
    do('gpu')
    assert read_records(tmp_path / 'records')['gpu', 0]['sessions'][1]['peak_memory_mib'] == 0.5


def test_commit(monkeypatch, tmp_path):
    def git(*words):
        subprocess.run(['git', '-c', 'user.name=a', '-c', 'user.email=a', '-C', tmp_path, *words], check=True)

    monkeypatch.setattr(module, 'ROOT', tmp_path)
    assert module._commit() == ''
    git('init', '-q')
    git('commit', '-qm', 'a', '--allow-empty')
    (tmp_path / 'notes').touch()  # which no training reads
    head = module._commit()
    assert re.fullmatch('[0-9a-f]{40}', head)
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/train.py').touch()
    assert module._commit() == f'{head}+'
    monkeypatch.setenv('PATH', str(tmp_path))
    assert module._commit() == ''  # without git


def test_images_are_only_compared_where_there_are_some(do, tmp_path):
    for id_, aux in dict(without=None, labels=dict(fa=dict(type='FALoss'))).items():
        do(id_, text=f"train_cfg = {{'max_iters': 2}}\nmodel = {{'sr_aux': {aux}}}\n")
        assert read_records(tmp_path / 'records')[id_, 0]['metrics']['sr'] == 0


def test_a_failure_stops_no_other_and_is_tried_again(do, tmp_path, capsys):
    for times in (1, 2):
        assert do('fails', 'a', jobs=1) == ['fails-seed0']
        printed = capsys.readouterr().out
        assert f'fails-seed0 failed: train.py ended with status 1. The end of {tmp_path}/work/fails-seed0/' in printed
        assert printed.endswith('no luck\n')
        assert notes(tmp_path).count('start fails') == times and notes(tmp_path).count('start a') == 1
    assert [*read_records(tmp_path / 'records')] == [('a', 0)]
    assert do('killed') == ['killed-seed0']
    assert 'status -9: killed, perhaps for lack of memory. Try fewer --jobs. The end' in capsys.readouterr().out


def test_in_order_and_no_more_at_a_time_than_allowed(tmp_path):
    both, begun = Barrier(2, timeout=300), []

    def execute(name: str) -> None:
        begun.append(name)
        both.wait()  # for the other of a pair: with fewer at a time, it breaks; with more, the second pair is mixed
        assert {*begun} in ({'a', 'b'}, {'a', 'b', 'c', 'd'})
        both.wait()

    runs = [SimpleNamespace(folder=tmp_path / name, iterations=1, execute=partial(execute, name)) for name in 'abcd']
    assert _execute(runs, jobs=2) == []


def start(root: Path, *words: str) -> None:
    """What a new process does as ``python -m projects.experiments WORDS``, with the tools of another folder."""
    os.chdir(ROOT)
    os.setsid()  # as a shell gives a command a group of processes of its own
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background commands of a shell ignore it
    tempfile.tempdir = str(root)
    module.ROOT, module.preflight, sys.argv = root, lambda *_: None, ['', *words]
    runpy.run_module('projects.experiments', run_name='__main__')


def noted(root: Path, word: str, count: int) -> None:
    """Wait until the trainings have noted a word a number of times."""
    end = time.monotonic() + 600
    while sum(word in note for note in notes(root)) < count:
        assert time.monotonic() < end
        time.sleep(0.05)


def start_and_stop(root: Path, *ids: str, waiting: int, by: signal.Signals) -> int:
    """Start a grid with rows of given ids, and stop its group once a number of trainings wait; gives the status."""
    rows = {id_: dict(id=id_, config='configs/dsrl/dabnet_camvid_baseline.py') for id_ in ids}
    grid = write_grid(root, rows, seeds=[0])
    options = ('--work-dir', str(root / 'work'), '--out', str(root / 'records'))
    runner = start_process(start, write_tools(root), str(grid), *options)
    noted(root, 'wait ', waiting)
    os.killpg(runner.pid, by)
    runner.join(600)
    return runner.exitcode


def test_ctrl_c_stops_the_rehearsal(tmp_path):
    assert start_and_stop(tmp_path, 'a', 'rehearses', 'b', waiting=1, by=signal.SIGINT) == 1
    noted(tmp_path, 'stop rehearses', 1)
    assert notes(tmp_path)[-2:] == ['wait rehearses', 'stop rehearses']
    assert [*tmp_path.glob('tmp*')] == []  # its folder


def test_sigterm_stops_the_trainings(tmp_path):
    assert start_and_stop(tmp_path, 'waits1', 'waits2', 'c', waiting=2, by=signal.SIGTERM) == 143
    assert notes(tmp_path)[:3] == ['rehearse waits1', 'end waits1', 'rehearse waits2']
    assert sorted(notes(tmp_path)[-2:]) == ['stop waits1', 'stop waits2'] and 'start c' not in notes(tmp_path)
    assert not (tmp_path / 'records').exists()
