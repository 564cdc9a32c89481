"""Checkpoints that survive a kill at any moment: a file is either the complete old or the complete new one."""

import errno
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from tempfile import NamedTemporaryFile

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import CheckpointLoader

#: End of the names of files that are being written.
PARTIAL = '.partial'
_UMASK = os.umask(0)
os.umask(_UMASK)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that it appears under its name only once it is complete on disk.

    Raises:
        OSError: if the disk is full; names the folder.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=file.parent, prefix=f'{file.name}.', suffix=PARTIAL, delete=False) as partial:
        try:
            partial.write(content)
            partial.flush()
            os.fsync(partial.fileno())
            os.chmod(partial.name, 0o666 & ~_UMASK)
            os.replace(partial.name, file)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                error.errno,
                f'{os.strerror(error.errno)} in {file.parent}: {file.name} ({len(content) / 2**20:.0f} MiB) was not '
                'written, and earlier files are whole. Make room and continue with --resume, or set another --work-dir',
            ) from error
        finally:
            Path(partial.name).unlink(missing_ok=True)  # a failed write must not fill the disk


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local file backend; a file appears under its name only once it is complete on disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write ``obj`` to a temporary file next to ``filepath``, then rename it."""
        write_whole(Path(filepath), obj)


register_backend('AtomicLocalBackend', AtomicLocalBackend, force=True)


def _folder(hook: ConfigDict, work_dir: str) -> Path:
    """Return the folder that MMEngine's ``CheckpointHook`` writes to."""
    return Path(hook.out_dir, Path(work_dir).name) if hook.get('out_dir') else Path(work_dir)


def _numbered(folder: Path, hook: ConfigDict) -> list[tuple[int, Path]]:
    """List the numbers and files of a training's checkpoints, the newest first."""
    template = hook.get('filename_tmpl') or ('epoch_{}.pth' if hook.get('by_epoch', True) else 'iter_{}.pth')
    pattern = re.compile(r'(\d+)'.join(re.escape(part) for part in re.split(r'{.*?}', template)))
    found = [(int(match[1]), file) for file in folder.glob('*') if (match := pattern.fullmatch(file.name))]
    return sorted(found, reverse=True)


def _written(file: Path) -> str:
    """Return when a checkpoint was written by its own account, which copies of the file keep; '~' if unreadable."""
    try:
        return torch.load(file, 'cpu', mmap=True).get('meta', {}).get('time', '')
    except (UnpicklingError, EOFError, RuntimeError, ValueError, OSError, AttributeError):
        return '~'  # after every time: passing over it is reported


def last_checkpoint(cfg: Config) -> Path | None:
    """Find the checkpoint to resume a training from: the newest that can be read; None if there is none yet.

    MMEngine's note ``last_checkpoint`` is not read: after a kill it may be empty or name the checkpoint before, and it
    may name a folder that was moved. A checkpoint that lacks accumulated gradients is passed over, so that a resumed
    training equals the uninterrupted one.

    Raises:
        ValueError: if there are checkpoints, but none can be read, or if they are on remote storage.
    """
    hook = cfg.default_hooks.checkpoint
    if '://' in (hook.get('out_dir') or ''):
        raise ValueError(
            f'--resume: the checkpoints are in default_hooks.checkpoint.out_dir={hook.out_dir}, which is not searched. '
            'Name the newest: --resume CHECKPOINT.'
        )
    unreadable = []
    numbered = _numbered(_folder(hook, cfg.work_dir), hook)
    # By time first: an earlier training in the same folder may have got further.
    for *_, file in sorted(((_written(file), number, file) for number, file in numbered), reverse=True):
        try:
            meta = CheckpointLoader.load_checkpoint(str(file), 'cpu', logger='silent').get('meta', {})
        except ValueError as error:
            unreadable.append(file)
            print_log(f'{error} Trying the checkpoint before it.', 'current', logging.WARNING)
            continue
        counts = cfg.optim_wrapper.get('accumulative_counts', 1)
        if hook.get('by_epoch', True) or meta.get('iter', 0) % counts == 0:
            return file
        print_log(
            f'{file} was written while gradients were accumulated over {counts} iterations, and lacks them. Trying the '
            'checkpoint before it; without one, the training starts over.',
            'current',
            logging.WARNING,
        )
    if unreadable:
        raise ValueError(
            f'--resume: none of the {len(unreadable)} checkpoints in {unreadable[0].parent} can be read, such as '
            f'{unreadable[0].name}. Restore one, or train in another --work-dir.'
        )
    return None


@HOOKS.register_module(force=True)
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook`` for trainings that can be killed at any moment.

    It writes atomically. It removes the oldest checkpoint, or the best so far, only after its successor is complete;
    the original removes first.

    Args:
        interval (int): iterations, or epochs, between two checkpoints. Defaults to -1: none but the last.
        by_epoch (bool): whether ``interval`` counts epochs. Defaults to True.
        backend_args (dict, optional): file backend; needed for a work directory on remote storage (S3, ...). Defaults
            to None: the local disk, or what ``out_dir`` is an address of.
        **others: other arguments of the original.
    """

    def __init__(self, interval: int = -1, by_epoch: bool = True, *, backend_args: dict | None = None, **others):
        if backend_args is None and '://' not in str(others.get('out_dir')):
            backend_args = dict(backend='AtomicLocalBackend')
        super().__init__(interval, by_epoch, backend_args=backend_args, **others)

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

    def every_n_train_iters(self, runner, n: int, start: int = 0) -> bool:
        """Whether a checkpoint is due; while gradients are accumulated, not before they have been used."""
        counts, iterations = runner.optim_wrapper._accumulative_counts, runner.iter + 1
        if counts == 1:
            return super().every_n_train_iters(runner, n, start)
        reached = [(number - start) // n for number in (iterations, iterations - counts)] if n > 0 else [0, 0]
        return iterations % counts == 0 and iterations >= start and reached[0] > reached[1]

    def before_train(self, runner) -> None:
        """Remove what a kill left: files that were being written, and checkpoints beyond ``max_keep_ckpts``."""
        super().before_train(runner)
        folder = Path(self.out_dir)
        if not is_main_process() or not folder.is_dir():
            return
        for partial in folder.glob(f'*{PARTIAL}'):
            partial.unlink()
        if runner._resume and self.max_keep_ckpts > 0:
            # Newer ones than the one that is resumed do not count: they may be broken.
            reached = runner.epoch if self.by_epoch else runner.iter
            numbered = _numbered(folder, ConfigDict(filename_tmpl=self.filename_tmpl))
            for outdated in [file for number, file in numbered if number <= reached][self.max_keep_ckpts :]:
                outdated.unlink()
