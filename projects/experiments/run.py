"""Run of a row with a seed: train, test the last checkpoint and record the result, with the repository's tools."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mmengine
import mmseg
import torch

from dsrl_mm.cli import preflight, training_config

from .config import ROOT, read_text
from .records import append, course, read_lines, read_log

_running: set[subprocess.Popen] = set()


def _call(tool: str, *arguments: object, log: Path) -> float:
    """Call one of the tools with its output in ``log``, and return the peak memory of its main process in MiB.

    Raises:
        RuntimeError: if it fails, with the end of its output.
    """
    command = [sys.executable, str(ROOT / 'tools' / tool), *map(str, arguments)]
    env = {'OMP_NUM_THREADS': '1', **os.environ}
    with log.open('a') as out:  # in a session of its own: Ctrl+C reaches it through stop()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True)
    _running.add(process)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:  # Ctrl+C in a rehearsal, whose folder is then removed
        process.terminate()
        process.wait()
        raise
    finally:
        _running.remove(process)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        end = '\n'.join(log.read_text(errors='replace').splitlines()[-15:])
        why = ': killed, perhaps for lack of memory. Try fewer --jobs' * (process.returncode == -signal.SIGKILL)
        raise RuntimeError(f'{tool} ended with status {process.returncode}{why}. The end of {log}:\n{end}')
    return usage.ru_maxrss / (2**20 if sys.platform == 'darwin' else 2**10)  # bytes; Linux counts KiB


def stop() -> None:
    """End the processes of all runs. Trainings save a checkpoint."""
    for process in [*_running]:
        process.terminate()


def device_name() -> str:
    """Name the GPU, or the CPU and its number of cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpus = Path('/proc/cpuinfo')  # Linux has it
    model = re.search(r'model name\s*: (.*)', cpus.read_text()) if cpus.exists() else None
    return f'{model[1] if model else platform.machine()}, {os.cpu_count()} cores'


def _commit() -> str:
    """Return the commit, with a '+' if files that training reads differ from it; empty outside git."""
    commands = 'git rev-parse HEAD', 'git status --porcelain configs dsrl_mm tools'  # by a shell: git may be missing
    head, changes = (subprocess.run(line, shell=True, cwd=ROOT, capture_output=True).stdout for line in commands)
    return head.decode().strip() + '+' * bool(changes)


@dataclass(frozen=True)
class Run:
    """Training run of a row with a seed."""

    id: str
    seed: int
    text: str  # of the config
    folder: Path
    records: Path  # the file to append the result to

    @property
    def iterations(self) -> int:
        return read_text(self.text)['train_cfg']['max_iters']

    @property
    def config(self) -> Path:
        """The file to train."""
        return self.folder / f'{self.id}.py'

    def rehearse(self) -> None:
        """Train one iteration in a folder that is then removed, and load a batch of the test data.

        Raises:
            RuntimeError: if the training fails.
            ValueError: if it leaves no checkpoint where :meth:`execute` looks for it, or the test data are wrong.
        """
        with TemporaryDirectory() as folder:
            config = Path(folder, self.config.name)
            config.write_text(self.text, encoding='utf-8')
            short = ('--cfg-options', 'train_cfg.max_iters=1', 'train_cfg.val_begin=2')  # not validated
            _call('train.py', config, '--work-dir', f'{folder}/train', *short, log=Path(folder, 'log.txt'))
            if not Path(folder, 'train/iter_1.pth').exists():
                raise ValueError('default_hooks.checkpoint must write iter_N.pth at the end, as the shipped one does')
            preflight(training_config([str(config)]), ('test',))

    def execute(self) -> None:
        """Train or resume, test the last checkpoint, and record the result."""
        train, notes, log = self.folder / 'train', self.folder / 'sessions.jsonl', self.folder / 'log.txt'
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self.text, encoding='utf-8')
        checkpoint = train / f'iter_{self.iterations}.pth'
        if not checkpoint.exists():
            versions = dict(torch=torch.__version__, mmseg=mmseg.__version__, mmengine=mmengine.__version__)
            append(notes, dict(commit=_commit(), versions=versions, device=device_name()))
            seed = f'randomness.seed={self.seed}'
            memory = _call('train.py', self.config, '--work-dir', train, '--resume', '--cfg-options', seed, log=log)
            peak = max(read_log(train).memory.dropna(), default=memory)  # a GPU's is in the log
            append(notes, dict(peak_memory_mib=peak))
        tested_by = _commit()
        sr = ['--sr-metrics'] * bool((read_text(self.text)['model'].get('sr_aux') or {}).get('head'))
        out = ('--work-dir', self.folder / 'test', '--out', self.folder / 'masks')
        _call('test.py', self.config, checkpoint, *out, *sr, log=log)
        metrics = json.loads(max(self.folder.glob('test/*/*.json')).read_text())
        metrics = {key: value for key, value in metrics.items() if not key.endswith('time')}
        result = dict(metrics=metrics, **course(read_log(train)), sessions=read_lines(notes), tested_by=tested_by)
        append(self.records, dict(id=self.id, seed=self.seed, **result, config=self.text))
