"""Checkpoints that survive being killed: a file is either the complete old one or the complete new one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

__all__ = ['AtomicLocalBackend', 'SafeCheckpointHook', 'write_whole']


def write_whole(file: Path, content: bytes, partial: Path) -> None:
    """Write ``content`` to ``partial``, beside ``file``, and rename it once it is complete on disk."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open('wb') as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)  # of a failed write; a full disk needs the room


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend, but a file appears under its name only once it is complete on disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` beside ``filepath``, then rename it into place."""
        write_whole(Path(filepath), obj, Path(f'{filepath}.partial'))


register_backend('AtomicLocalBackend', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, safe to kill at any moment.

    It writes atomically, and removes the oldest checkpoint, or the best so far, after the one that takes its place is
    complete, where the original removes first. Takes the original's arguments; a work directory that is no folder of
    this machine (S3, ...) needs ``backend_args``.
    """

    def __init__(self, *args, backend_args: dict | None = None, **kwargs):
        super().__init__(*args, backend_args=backend_args or dict(backend='AtomicLocalBackend'), **kwargs)

    @contextmanager
    def _removing_last(self) -> Iterator[None]:
        """Put off the removal of files until the block has ended; if it raises, nothing is removed."""
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
