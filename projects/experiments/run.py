"""Runs as processes, several at a time: train, test the last checkpoint and record the result."""

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
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    def config(self) -> Path:
        """The file to train."""
        return self.folder / f'{self.id}.py'

    @property
    def iterations(self) -> int:
        return read_text(self.text).train_cfg.max_iters


def _steps(run: Run) -> Generator[subprocess.Popen, float, None]:
    """Train or resume, test the last checkpoint, record the run, and remove the other checkpoints.

    Yields each process after starting it, and is sent its peak memory in MiB.

    Raises:
        BlockingIOError: if processes of another runner hold the lock of the folder.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    with open(run.folder / 'lock', 'w') as lock, open(run.folder / 'log.txt', 'a') as out:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if str(run.seed) in read_records(run.records).get(run.id, dict(runs=()))['runs']:
            return  # another runner was faster

        def start(tool: str, *arguments: object) -> subprocess.Popen:
            return subprocess.Popen(
                [sys.executable, str(ROOT / 'tools' / tool), str(run.config), *map(str, arguments)],
                stdout=out,
                stderr=subprocess.STDOUT,
                env={'OMP_NUM_THREADS': '1', **os.environ},
                start_new_session=True,  # what it starts in turn can be stopped with it
                pass_fds=[lock.fileno()],  # if this runner is killed, the folder stays locked
            )

        notes, train = run.folder / 'sessions.json', run.folder / 'train'
        run.config.write_text(run.text, encoding='utf-8')
        checkpoint = train / f'iter_{run.iterations}.pth'
        sessions = read_json(notes) if notes.exists() else []
        if not checkpoint.exists():
            versions = dict(torch=torch.__version__, mmseg=mmseg.__version__, mmengine=mmengine.__version__)
            sessions.append(dict(commit=_commit(), versions=versions, device=device_name()))
            write_json(notes, sessions)
            seed = f'randomness.seed={run.seed}'
            memory = yield start('train.py', '--work-dir', train, '--resume', '--cfg-options', seed)
            sessions[-1]['peak_memory_mib'] = read_log(train).memory.fillna(memory).max()  # a GPU's is in the log
            write_json(notes, sessions)
        tested_by = _commit()
        rebuilds = (read_text(run.text).model.get('sr_aux') or {}).get('head')
        yield start('test.py', checkpoint, '--work-dir', run.folder / 'test', *['--sr-metrics'] * bool(rebuilds))
        metrics = json.loads(max(run.folder.glob('test/*/*.json')).read_text())
        metrics = {key: value for key, value in metrics.items() if not key.endswith('time')}
        result = dict(metrics=metrics, **course(read_log(train)), sessions=sessions, tested_by=tested_by)
        add_run(run.records, run.grid, run.id, run.seed, run.text, result)
        for other in {*train.glob('*.pth')} - {checkpoint}:
            other.unlink()


def run_all(runs: Sequence[Run], jobs: int, watch: Callable[[Collection[Run]], None], pause: float = 2) -> list[Run]:
    """Execute runs in order. A failed run does not stop others; all processes stop with this function.

    Args:
        runs (Sequence[Run]): to execute. Those that another runner executes come last.
        jobs (int): how many at a time.
        watch (Callable): called after every pause with the running ones.
        pause (float): seconds. Defaults to 2.

    Returns:
        list[Run]: those that failed.
    """
    waiting, working, failed = deque(runs), {}, []

    def go_on(run: Run, steps: Generator, resume: Callable, value: Any = None) -> None:
        try:
            working[resume(value)] = run, steps
        except StopIteration:
            return
        except BlockingIOError:
            waiting.append(run)
        except Exception as error:
            failed.append(run)
            log = run.folder / 'log.txt'
            end = log.read_text(errors='replace').splitlines()[-15:]
            print(f'{run.name} failed: {error}. The end of {log}:', *end, sep='\n', flush=True)

    try:
        while waiting or working:
            for run in [waiting.popleft() for _ in range(min(jobs - len(working), len(waiting)))]:
                steps = _steps(run)
                go_on(run, steps, steps.send)
            time.sleep(pause)
            watch([run for run, _ in working.values()])
            for process in [*working]:
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
                if ended:
                    run, steps = working.pop(process)
                    process.returncode = os.waitstatus_to_exitcode(status)
                    if process.returncode:
                        go_on(run, steps, steps.throw, subprocess.CalledProcessError(process.returncode, process.args))
                    else:
                        unit = 2**20 if sys.platform == 'darwin' else 2**10  # bytes; Linux counts KiB
                        go_on(run, steps, steps.send, usage.ru_maxrss / unit)
    finally:
        for process in working:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    return failed
