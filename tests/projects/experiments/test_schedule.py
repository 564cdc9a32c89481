"""Runs as processes, with stand-ins for trainings."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from projects.experiments.run import TAKEN, busy
from projects.experiments.schedule import run_all

from .grids import make_grid


def do(
    tmp_path,
    program,
    jobs=2,
    watch=lambda working: None,
    report=lambda run, failed: None,
    busy=lambda run: False,
    taken=None,
):
    """Run ``program`` for every run of a grid, with the run's name as its argument."""
    return run_all(
        make_grid(tmp_path).runs(),
        jobs,
        lambda run: [sys.executable, '-c', program, run.name, str(tmp_path)],
        lambda run: tmp_path / run.name / 'log.txt',
        watch,
        report,
        busy,
        taken,
        pause=0.05,
    )


def test_in_order_and_no_more_at_a_time_than_allowed(tmp_path):
    seen = []
    assert do(tmp_path, 'import time; time.sleep(0.2)', 2, lambda runs: seen.append([run.name for run in runs])) == []
    assert max(map(len, seen)) == 2
    assert list(dict.fromkeys(name for names in seen for name in names)) == [
        'baseline-seed0',
        'dsrl-seed0',
        'baseline-seed1',
        'dsrl-seed1',
    ]
    seen.clear()
    do(tmp_path, '', 1, seen.append)
    assert max(map(len, seen)) == 1


def test_failure_stops_no_other_and_logs_grow(tmp_path, monkeypatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    program = "import os, sys; print(sys.argv[1], os.environ['OMP_NUM_THREADS']); sys.exit('dsrl' in sys.argv[1])"
    reported = {}
    for session in (1, 2):
        reported.clear()
        failed = do(tmp_path, program, report=lambda run, broken: reported.update({run.name: broken}))
        assert [run.name for run in failed] == [name for name, broken in reported.items() if broken]
        assert len(reported) == 4
        assert [run.name for run in failed] == ['dsrl-seed0', 'dsrl-seed1']
        assert (tmp_path / 'dsrl-seed1/log.txt').read_text() == 'dsrl-seed1 1\n' * session


def test_what_others_do_waits_while_there_is_else_to_do(tmp_path):
    ended = []
    do(tmp_path, '', 1, report=lambda run, _: ended.append(run.name), busy=lambda run: run.seed == 0 and len(ended) < 2)
    assert ended == ['baseline-seed1', 'dsrl-seed1', 'baseline-seed0', 'dsrl-seed0']


def test_what_others_took_waits_and_comes_again(tmp_path):
    ended = []
    first = 'import pathlib, sys; p = pathlib.Path(sys.argv[2], "seen"); seen = p.exists(); p.touch(); '
    program = first + f'sys.exit(0 if seen or sys.argv[1] != "baseline-seed0" else {TAKEN})'
    assert do(tmp_path, program, 1, report=lambda run, _: ended.append(run.name), taken=TAKEN) == []
    assert ended == ['dsrl-seed0', 'baseline-seed1', 'dsrl-seed1', 'baseline-seed0']


def test_two_at_a_time_on_the_same_runs_share_them(tmp_path):
    # As a training: the lock is taken late, and held for long.
    program = f"""
import fcntl, pathlib, sys, time
time.sleep(0.3)
folder = pathlib.Path(sys.argv[2], sys.argv[1])
with open(folder / 'lock', 'w') as lock:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit({TAKEN})
    if not (folder / 'result').exists():
        time.sleep(1)
        (folder / 'result').touch()
        print('trained by', CALLER)
"""

    def call(caller):
        mine = program.replace('CALLER', str(caller))
        return do(tmp_path, mine, 1, busy=lambda run: busy(tmp_path / run.name), taken=TAKEN)

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(call, (1, 2))] == [[], []]
    trained = [log.read_text() for log in tmp_path.glob('*/log.txt')]
    assert len(trained) == 4
    assert {*trained} == {'trained by 1\n', 'trained by 2\n'}


def test_whatever_ends_it_ends_all_processes(tmp_path):
    program = (
        'import pathlib, subprocess, sys; child = subprocess.Popen(["sleep", "60"]); '
        'pathlib.Path(sys.argv[2], sys.argv[1] + ".pid").write_text(str(child.pid)); child.wait()'
    )

    def interrupt(working):
        if len([*tmp_path.glob('*.pid')]) == 2 and all(file.read_text() for file in tmp_path.glob('*.pid')):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do(tmp_path, program, 2, interrupt)
    time.sleep(0.2)
    for file in tmp_path.glob('*.pid'):
        assert not alive(int(file.read_text()))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and whose parent has not asked does not."""
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False
