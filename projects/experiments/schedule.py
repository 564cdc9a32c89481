"""Runs as processes, so many at a time."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from .grid import Run

__all__ = ['run_all']


def run_all(
    runs: Sequence[Run],
    jobs: int,
    command: Callable[[Run], list[str]],
    log: Callable[[Run], Path],
    watch: Callable[[Collection[Run]], None],
    report: Callable[[Run, bool], None],
    busy: Callable[[Run], bool] = lambda run: False,
    taken: int | None = None,
    pause: float = 2,
) -> list[Run]:
    """Start runs in their order; one that fails stops no other. Whatever ends this function ends what it started.

    Args:
        runs (Sequence[Run]): what to do.
        jobs (int): how many at a time.
        command (Callable): of a run, the command line.
        log (Callable): of a run, the file that gets what it prints, after what earlier sessions printed.
        watch (Callable): called after every pause with the runs at work.
        report (Callable): called with a run that has ended, and whether it failed.
        busy (Callable): of a run, whether someone else is at it; the others come first then. Defaults to nobody.
        taken (int, optional): the exit status of a run that someone else is at, after all; it waits again. Defaults to
            None: there is none.
        pause (float): seconds. Defaults to 2.

    Returns:
        list[Run]: those that failed.
    """
    waiting, working, failed = list(runs), [], []
    try:
        while waiting or working:
            for run in [run for run in waiting if not busy(run)][: jobs - len(working)]:
                waiting.remove(run)
                working.append((run, _start(command(run), log(run))))
            time.sleep(pause)
            watch([run for run, _ in working])
            ended = [(run, process) for run, process in working if process.poll() is not None]
            working = [pair for pair in working if pair not in ended]
            for run, process in ended:
                if process.returncode == taken:
                    waiting.append(run)
                    continue
                failed += [run] * bool(process.returncode)
                report(run, bool(process.returncode))
    finally:
        for _, process in working:
            _stop(process)
    return failed


def _start(command: list[str], log: Path) -> subprocess.Popen:
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {'OMP_NUM_THREADS': '1', **os.environ}
    with open(log, 'a') as out:
        # A session, so that the processes it starts in turn can be stopped with it.
        return subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True)


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
