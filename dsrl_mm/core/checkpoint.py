"""Checkpoints that survive being killed: a file is either the complete old one or the complete new one."""

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

__all__ = ['AtomicLocalBackend', 'SafeCheckpointHook']


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend, but a file appears under its name only once it is complete on disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` beside ``filepath``, then rename it into place."""
        partial = f'{filepath}.partial'
        os.makedirs(os.path.dirname(partial) or '.', exist_ok=True)
        with open(partial, 'wb') as f:
            f.write(obj)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, filepath)


register_backend('AtomicLocalBackend', AtomicLocalBackend, force=True)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, safe to kill at any moment.

    It writes atomically, and removes the oldest checkpoint after the newest is complete, where the original removes
    first. Takes the original's arguments.
    """

    def __init__(self, *args, backend_args: dict | None = None, **kwargs):
        super().__init__(*args, backend_args=backend_args or dict(backend='AtomicLocalBackend'), **kwargs)

    def _save_checkpoint_with_step(self, runner, step, meta):
        oldest = None
        if (
            self.max_keep_ckpts > 0
            and len(self.keep_ckpt_ids) == self.max_keep_ckpts
            and step not in self.keep_ckpt_ids
        ):
            oldest = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
        super()._save_checkpoint_with_step(runner, step, meta)
        if oldest is not None and runner.rank == 0 and self.file_backend.isfile(oldest):
            self.file_backend.remove(oldest)
