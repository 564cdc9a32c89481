"""What results say of where they come from, and how they are written."""

import json
import math
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import mmengine
import mmseg
import torch

from dsrl_mm.engine.checkpoint import write_whole

from .grid import ROOT

__all__ = ['Sessions', 'code_state', 'device_name', 'read_json', 'tidy', 'write_file', 'write_json']


def code_state() -> dict[str, Any] | None:
    """The commit, and whether what a training reads differs from it; None outside git, or without it."""

    def git(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ['git', '--no-optional-locks', '-C', str(ROOT), *arguments], capture_output=True, text=True
        )

    try:
        head = git('rev-parse', 'HEAD')
    except FileNotFoundError:
        return None
    if head.returncode:
        return None
    changes = git('status', '--porcelain', 'configs', 'dsrl_mm', 'tools').stdout
    return dict(commit=head.stdout.strip(), dirty=bool(changes))


def device_name() -> str:
    """Of the GPU, or of the CPU and how many of its cores there are."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpus = Path('/proc/cpuinfo')
    lines = cpus.read_text().splitlines() if cpus.exists() else []  # Linux has it
    models = [line.split(': ')[1] for line in lines if line.startswith('model name')]
    return f'{models[0] if models else platform.machine()}, {os.cpu_count()} cores'


class Sessions:
    """Where and by which code a training was done, a note for each time that it was begun or resumed.

    Args:
        file (Path): in the work dir.
    """

    def __init__(self, file: Path):
        self.file = file
        self.notes = read_json(file, 'the training goes on without these notes')['sessions'] if file.exists() else []

    def begin(self) -> None:
        """Note this process."""
        versions = dict(torch=torch.__version__, mmseg=mmseg.__version__, mmengine=mmengine.__version__)
        self.notes.append(dict(code=code_state(), versions=versions, device=device_name()))
        self._write()

    def end(self, **measured: float) -> None:
        """Add what is known at a session's end to its note."""
        self.notes[-1] |= tidy(measured)
        self._write()

    def _write(self) -> None:
        write_json(self.file, dict(sessions=self.notes))


def tidy(value: Any) -> Any:
    """Measured numbers for JSON: five digits, and None for NaN, of which JSON knows nothing."""
    if isinstance(value, dict):
        return {key: tidy(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [tidy(inner) for inner in value]
    if isinstance(value, float):
        return float(f'{value:.5g}') if math.isfinite(value) else None
    return value


def write_file(file: Path, content: bytes) -> None:
    """Write a file that is either complete or as it was, also where another process writes it."""
    write_whole(file, content, file.with_suffix(f'.{os.getpid()}.partial'))


def write_json(file: Path, value: dict) -> None:
    """Write a file, a line per key; see :func:`write_file`."""
    lines = ',\n'.join(f'{json.dumps(key)}: {json.dumps(inner)}' for key, inner in value.items())
    write_file(file, f'{{\n{lines}\n}}\n'.encode())


def read_json(file: Path, without: str) -> dict:
    """Read a file, or say what happens once it is removed.

    Raises:
        ValueError: if it is no JSON.
    """
    try:
        return json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f'{file} is damaged ({error}). Remove it, and {without}') from error
