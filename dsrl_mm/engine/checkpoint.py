"""Checkpoints that survive a kill at any moment: a file is either the complete old or the complete new one."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

__all__ = ['AtomicLocalBackend', 'SafeCheckpointHook', 'last_checkpoint', 'write_whole']


def write_whole(file: Path, content: bytes, partial: Path) -> None:
    """Write ``content`` to ``partial``, in the folder of ``file``, and rename it once it is complete on disk."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open('wb') as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)  # after a failed write, to free the disk


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend; a file appears under its name only once it is complete on disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to ``filepath``.partial, then rename it."""
        write_whole(Path(filepath), obj, Path(f'{filepath}.partial'))


register_backend('AtomicLocalBackend', AtomicLocalBackend, force=True)


def last_checkpoint(work_dir: Path) -> Path | None:
    """Find the checkpoint to resume from. Nothing is written, so all processes of a run find the same one.

    It is the one that MMEngine's file ``last_checkpoint`` names. If that is empty, after a kill, or names a missing
    file, after the folder was moved, it is the newest ``iter_N.pth`` or ``epoch_N.pth``.
    """
    note = work_dir / 'last_checkpoint'
    named = note.read_text().strip() if note.exists() else ''
    if named and Path(named).exists():
        return Path(named)
    numbered = [file for file in work_dir.glob('*.pth') if re.fullmatch(r'(iter|epoch)_\d+', file.stem)]
    return max(numbered, key=lambda file: int(file.stem.split('_')[1]), default=None)


@HOOKS.register_module(force=True)
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` for trainings that can be killed at any moment.

    It writes atomically. It removes the oldest checkpoint, or the best so far, only after its successor is complete;
    the original removes first. Takes the original's arguments; a work directory on remote storage (S3, ...) needs
    ``backend_args``.
    """

    def __init__(self, *args, backend_args: dict | None = None, **kwargs):
        super().__init__(*args, backend_args=backend_args or dict(backend='AtomicLocalBackend'), **kwargs)

    @contextmanager
    def _removing_last(self) -> Iterator[None]:
        """Delay the removal of files until the end of the block; if it raises, nothing is removed."""
        backend, outdated = self.file_backend, []
        remove, backend.remove = backend.remove, outdated.append
        try:
            yield
        finally:
            backend.remove = remove
        for path in outdated:
            remove(path)

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner, metrics) -> None:
        if not self.save_best:
            return
        with self._removing_last():
            super()._save_best_checkpoint(runner, metrics)
