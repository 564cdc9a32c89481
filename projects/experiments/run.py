"""One run, in a process of its own: train, test the last checkpoint, and write down what came out."""

import fcntl
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config

from dsrl_mm import cli
from dsrl_mm.apis.compare import Trained, evaluate
from dsrl_mm.seg import BoundaryMetric, ClassIoUMetric  # noqa: F401  (registers)

from .grid import ROOT, Row, Run
from .log import TrainingLog
from .record import Sessions, code_state, tidy, write_json

__all__ = ['TAKEN', 'busy', 'command', 'execute', 'main']

#: Exit status of a run that another process is at.
TAKEN = os.EX_TEMPFAIL


def _metrics(cfg: Config) -> list[dict]:
    """What every run is tested by, whatever its config's evaluator is; only what to ignore is the config's."""
    evaluators = cfg.test_evaluator if isinstance(cfg.test_evaluator, (list, tuple)) else [cfg.test_evaluator]
    ignored = {key: value for evaluator in evaluators for key, value in evaluator.items() if key == 'ignore_index'}
    return [dict(type='ClassIoUMetric', iou_metrics=['mIoU'], **ignored), dict(type='BoundaryMetric', **ignored)]


def _host_memory_mib() -> float:
    """The most that a child process had, the main process of a training."""
    unit = 1 if sys.platform == 'darwin' else 1024  # bytes; macOS counts single ones, Linux KiB
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**20


def command(run: Run, work_dir: Path, result: Path) -> list[str]:
    """The command line that calls :func:`execute` in another process."""
    return [sys.executable, '-m', __name__, json.dumps(asdict(run)), str(work_dir), str(result)]


def execute(run: Run, work_dir: Path, result: Path) -> None:
    """Train what is left to train, test the last checkpoint, write the result and remove the other checkpoints.

    Raises:
        BlockingIOError: if another process is at it.
    """
    code = code_state()
    work_dir.mkdir(parents=True, exist_ok=True)
    with _alone_in(work_dir) as lock:
        if result.exists():
            return
        if run.id != work_dir.name:
            sys.exit(f'{run.row.config} has changed since the grid was read: now it is {run.id}. Start the grid again')
        arguments = run.arguments(work_dir)
        cfg = cli.training_config(arguments)
        checkpoint = work_dir / f'iter_{cfg.train_cfg.max_iters}.pth'
        sessions = Sessions(work_dir / 'sessions.json')
        if not checkpoint.exists():
            sessions.begin()
            train = [sys.executable, str(ROOT / 'tools/train.py'), *arguments, '--resume']
            if failed := subprocess.call(train, pass_fds=[lock]):
                sys.exit(failed)  # what it said is the end of the log
            sessions.end(peak_memory_mib=TrainingLog(work_dir).gpu_memory_mib or _host_memory_mib())
        metrics = evaluate(Trained(cfg, checkpoint), run.name, _metrics(cfg))
        log = TrainingLog(work_dir)
        measured = dict(metrics=metrics, curve=log.curve, losses=log.losses(), train_seconds=log.seconds)
        write_json(result, run.settings | tidy(measured) | dict(sessions=sessions.notes, tested_by=code))
        for other in set(work_dir.glob('*.pth')) - {checkpoint}:
            other.unlink()


def busy(work_dir: Path) -> bool:
    """Whether some process trains there right now."""
    if not (work_dir / 'lock').exists():
        return False
    with open(work_dir / 'lock') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def _alone_in(folder: Path) -> Iterator[int]:
    """Have a folder to oneself, as long as any process has the file that this gives."""
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock.fileno()


def main(argv: Sequence[str] | None = None) -> None:
    """What :func:`command` calls."""
    run, work_dir, result = sys.argv[1:] if argv is None else argv
    run = json.loads(run)
    try:
        execute(Run(**dict(run, row=Row(**run['row']))), Path(work_dir), Path(result))
    except BlockingIOError:
        print(f'Another process trains in {work_dir}: left to it', flush=True)
        sys.exit(TAKEN)


if __name__ == '__main__':
    main()
