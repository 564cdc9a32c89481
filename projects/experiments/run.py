"""Runs as processes: train, test the last checkpoint and record the result."""

import fcntl
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import TextIOBase
from pathlib import Path
from threading import Event

import mmengine
import mmseg
import torch

from .config import ROOT, read_text
from .log import course, read_log
from .records import add_run, read_json, read_records, write_json

__all__ = ['Run', 'device_name', 'run_all']


def device_name() -> str:
    """Name the GPU, or the CPU and its number of cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpus = Path('/proc/cpuinfo')  # Linux has it
    model = re.search(r'model name\s*: (.*)', cpus.read_text()) if cpus.exists() else None
    return f'{model[1] if model else platform.machine()}, {os.cpu_count()} cores'


def _commit() -> str:
    """Return the commit, with a '+' if files that training reads differ from it; empty outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(['git', '-C', str(ROOT), *arguments], capture_output=True, text=True).stdout.strip()

    return git('rev-parse', 'HEAD') + '+' * bool(git('status', '--porcelain', 'configs', 'dsrl_mm', 'tools'))


@dataclass(frozen=True)
class Run:
    """Training run of a row with a seed."""

    id: str
    seed: int
    text: str  # of the config
    work_dir: Path  # of all runs
    records: Path
    grid: str

    @property
    def name(self) -> str:
        return f'{self.id}-seed{self.seed}'

    @property
    def folder(self) -> Path:
        return self.work_dir / self.name

    @property
    def iterations(self) -> int:
        return read_text(self.text).train_cfg.max_iters


def _execute(run: Run, call: Callable[..., float]) -> None:
    """Train or resume, test the last checkpoint, record the run, and remove the other checkpoints.

    Args:
        run (Run): what to do.
        call (Callable): runs one of the tools with arguments, and returns the most memory that it took, in MiB.
    """
    if str(run.seed) in read_records(run.records).get(run.id, dict(runs=()))['runs']:
        return  # another process was faster
    config, notes, train = run.folder / f'{run.id}.py', run.folder / 'sessions.json', run.folder / 'train'
    config.write_text(run.text, encoding='utf-8')
    checkpoint = train / f'iter_{run.iterations}.pth'
    sessions = read_json(notes) if notes.exists() else []
    if not checkpoint.exists():
        versions = dict(torch=torch.__version__, mmseg=mmseg.__version__, mmengine=mmengine.__version__)
        sessions.append(dict(commit=_commit(), versions=versions, device=device_name()))
        write_json(notes, sessions)
        seed = f'randomness.seed={run.seed}'
        memory = call('train.py', config, '--work-dir', train, '--resume', '--cfg-options', seed)
        sessions[-1]['peak_memory_mib'] = read_log(train)['memory'].fillna(memory).max()  # on a GPU, MMEngine logs it
        write_json(notes, sessions)
    tested_by = _commit()
    rebuilds = (read_text(run.text).model.get('sr_aux') or {}).get('head')
    call('test.py', config, checkpoint, '--work-dir', run.folder / 'test', *['--sr-metrics'] * bool(rebuilds))
    metrics = json.loads(max(run.folder.glob('test/*/*.json')).read_text())
    metrics = {key: value for key, value in metrics.items() if not key.endswith('time')}
    result = dict(metrics=metrics, **course(read_log(train)), sessions=sessions, tested_by=tested_by)
    add_run(run.records, run.grid, run.id, run.seed, run.text, result)
    for other in {*train.glob('*.pth')} - {checkpoint}:
        other.unlink()


class _Processes:
    """Running processes, to be stopped together."""

    def __init__(self):
        self.running, self.stopped = set(), Event()

    def call(self, lock: TextIOBase, out: TextIOBase, tool: str, *arguments: object) -> float:
        """Run a tool and return its peak memory in MiB."""
        process = subprocess.Popen(
            [sys.executable, str(ROOT / 'tools' / tool), *map(str, arguments)],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={'OMP_NUM_THREADS': '1', **os.environ},
            start_new_session=True,  # what it starts in turn is stopped with it
            pass_fds=[lock.fileno()],  # if this process is killed, the folder stays locked
        )
        self.running.add(process)
        if self.stopped.is_set():
            self.stop()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.running.discard(process)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, tool)
        return usage.ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)  # macOS counts bytes, Linux KiB

    def stop(self) -> None:
        """Stop all processes, and every later one."""
        self.stopped.set()
        for process in [*self.running]:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _alone(run: Run, processes: _Processes) -> None:
    """Execute a run with its folder locked. Raise BlockingIOError if another process executes it."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with open(run.folder / 'lock', 'w') as lock, open(run.folder / 'log.txt', 'a') as out:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _execute(run, partial(processes.call, lock, out))


def run_all(runs: Sequence[Run], jobs: int, watch: Callable[[Collection[Run]], None], pause: float = 2) -> list[Run]:
    """Execute runs in order. A failed run does not stop others; all processes stop with this function.

    Args:
        runs (Sequence[Run]): what to do. Those that another process is at come last.
        jobs (int): how many at a time.
        watch (Callable): called after every pause with the runs at work.
        pause (float): seconds. Defaults to 2.

    Returns:
        list[Run]: those that failed.
    """
    waiting, working, failed, processes = deque(runs), {}, [], _Processes()
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while waiting or working:
                while waiting and len(working) < jobs:
                    run = waiting.popleft()
                    working[pool.submit(_alone, run, processes)] = run
                time.sleep(pause)
                watch(working.values())
                for future in [future for future in working if future.done()]:
                    run, error = working.pop(future), future.exception()
                    if isinstance(error, BlockingIOError):
                        waiting.append(run)
                    elif error:
                        failed.append(run)
                        out = run.folder / 'log.txt'
                        end = out.read_text(errors='replace').splitlines()[-15:]
                        print(f'{run.name} failed: {error}. The end of {out}:', *end, sep='\n', flush=True)
        finally:
            processes.stop()
    return failed
