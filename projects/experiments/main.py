"""Command that checks a grid, then trains and tests the runs without a record, several at a time."""

import argparse
import gc
import signal
import sys
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.config import Config
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dsrl_mm.apis import task_of
from dsrl_mm.apis.compare import quiet
from dsrl_mm.engine.checkpoint import SafeCheckpointHook
from dsrl_mm.engine.config import builds
from dsrl_mm.engine.loading import without_pretrained

from .config import ROOT, compose, differences, new_options, read_text, to_text
from .cost import measure
from .grid import Grid, Row, load_grid
from .log import read_log
from .records import FOLDER, changing, read_costs, read_records
from .run import Run, run_all
from .tables import Results, accuracy

__all__ = ['Watch', 'main']

#: What broken configs raise: in files, registries, constructors, data sets and layers.
_BROKEN = (
    *(AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SyntaxError, TypeError),
    ValueError,
)


def _check(cfg: Config) -> None:
    """Check the data of a config, build all that trains, and let the model compute a loss on two images.

    Raises:
        ValueError: if it does not train by iterations, or does not keep its last checkpoint where it is looked for.
    """
    if 'max_iters' not in cfg.train_cfg:
        raise ValueError('train_cfg.max_iters is missing: only trainings by iterations are run')
    hook = cfg.default_hooks.checkpoint
    elsewhere = not hook.get('save_last', True) or {'filename_tmpl', 'out_dir'} & hook.keys()
    if elsewhere or hook.get('by_epoch', True) or not builds(hook, HOOKS, SafeCheckpointHook):
        raise ValueError(
            'the last checkpoint is looked for as iter_N.pth, complete or not there: default_hooks.checkpoint needs '
            'type="SafeCheckpointHook" and by_epoch=False, and neither save_last nor filename_tmpl nor out_dir'
        )
    task_of(cfg).check_data(cfg, ('train', 'val', 'test'))
    cfg.model = without_pretrained(cfg.model)
    loader = dict(cfg.train_dataloader, batch_size=2, num_workers=0, persistent_workers=False)
    with TemporaryDirectory() as folder, torch.no_grad():
        # A name of its own, or MMEngine would go on with the visualizer of the row before.
        cfg.update(work_dir=folder, log_level='ERROR', visualizer=None, experiment_name=Path(folder).name)
        runner = Runner.from_cfg(cfg)
        runner.build_train_loop(cfg.train_cfg)
        runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
        if 'param_scheduler' in cfg:
            runner.build_param_scheduler(cfg.param_scheduler)
        model = runner.model.train()
        # Channels and strides that do not fit show only now.
        model(**model.data_preprocessor(next(iter(Runner.build_dataloader(loader))), training=True), mode='loss')


def _prepare(grid: Grid, row: Row, seeds: Collection[int], work_dir: Path, records: Path) -> list[Run]:
    """Check a row and return its runs.

    Raises:
        ValueError: if the row cannot be trained, or a run was begun with another config.
    """
    print(f'Checking "{row.title}"', flush=True)
    try:
        cfg = compose(row, grid.amp)
        runs = [Run(row.id, seed, to_text(cfg), work_dir, records, grid.name) for seed in seeds]
        for run in runs:
            if run.config.exists() and (differ := differences(read_text(run.config.read_text()), cfg)):
                told = '\n  '.join(differ)
                raise ValueError(f'{run.folder} was begun with another config: remove it, or change the id\n  {told}')
        _check(read_text(runs[0].text, here=True))
    except _BROKEN as error:
        new = ''.join(f'\nThe config itself has no {option}' for option in new_options(row))
        raise ValueError(f'{grid.name}: row {row.title!r}: {error}{new}') from error
    return runs


def _note_differences(grid: Grid, row: Row, record: dict) -> None:
    """Print how the config of a record differs from the current config of its row. The record remains valid."""
    try:
        differ = differences(read_text('\n'.join(record['config'])), compose(row, grid.amp))
    except (OSError, ValueError) as error:
        differ = [f'today there is none: {error}']
    if differ:
        print(f'Note: {row.id} was trained with another config than its row has today:', *differ, sep='\n  ')


class Watch:
    """Show the progress of runs from their logs: a bar in a terminal, otherwise a line per minute.

    Args:
        runs (Sequence[Run]): all that there is to do.
        every (float): seconds between two lines. Defaults to 60.
    """

    def __init__(self, runs: Sequence[Run], every: float = 60):
        columns = (TextColumn('{task.description}'), BarColumn(20), TaskProgressColumn(), TimeRemainingColumn())
        console = Console()
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=1800)
        self.every = 5 if console.is_terminal else every
        self.totals, self.shown = {run: run.iterations for run in runs}, time.monotonic()
        done, _ = self._look()
        self.task = self.bar.add_task('', total=sum(self.totals.values()), completed=done)

    def _look(self) -> tuple[int, dict[Run, str]]:
        """Return the iterations of all runs, and the progress of each."""
        done, states = 0, {}
        for run, total in self.totals.items():
            log = read_log(run.folder / 'train')
            done += log.index[-1]
            scores = log['mIoU'].dropna()
            states[run] = f'{run.name} {log.index[-1]}/{total}' + ''.join(f' mIoU {s:.2f}' for s in scores[-1:])
        return int(done), states

    def __call__(self, working: Collection[Run]) -> None:
        """Show the running trainings."""
        if time.monotonic() - self.shown < self.every:
            return
        self.shown = time.monotonic()
        done, states = self._look()
        told = ', '.join(states[run] for run in working)
        self.bar.update(self.task, completed=done, description=told)
        if self.bar.disable:
            task = self.bar.tasks[0]
            left = timedelta(seconds=round(task.time_remaining)) if task.time_remaining else 'unknown'
            print(f'{told}; {done} of {task.total} iterations, time left: {left}', flush=True)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser('python -m projects.experiments', description=main.__doc__)
    parser.add_argument('grid', help='YAML file, see projects/experiments/grids')
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time, on one device')
    parser.add_argument('--only', nargs='+', metavar='ROW', help='titles or ids of the rows to train')
    parser.add_argument('--seeds', nargs='+', type=int, help="seeds to train, of the grid's")
    parser.add_argument('--out', type=Path, default=FOLDER, help='folder of the records')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/experiments', help='for checkpoints')
    args = parser.parse_args(argv)
    args.grid = load_grid(args.grid)
    rows = [name for row in args.grid.rows for name in (row.title, row.id)]
    for given, known in ((args.only, rows), (args.seeds, args.grid.seeds)):
        if unknown := {*(given or ())} - {*known}:
            parser.error(f'the grid has no {unknown}; it has {known}')
    if args.jobs < 1:
        parser.error('--jobs must be at least 1')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Train and test every row of a grid with every seed, and record the results. The same command resumes."""
    args = _parse(argv)
    grid, out, work_dir = args.grid, args.out.resolve(), args.work_dir.resolve()
    records, runs = read_records(out), []
    quiet()
    for row in grid.rows:
        if args.only and not {row.title, row.id} & {*args.only}:
            continue
        record = records.get(row.id, dict(config=[], runs={}))
        if record['runs']:
            _note_differences(grid, row, record)
        if left := [seed for seed in args.seeds or grid.seeds if str(seed) not in record['runs']]:
            runs += _prepare(grid, row, left, work_dir, out)
    runs.sort(key=lambda run: grid.seeds.index(run.seed))  # every row of a seed before the next seed
    if 'cost' in grid.show and {row.id for row in grid.rows} - read_costs(out, grid.name)['rows'].keys():
        measured = measure({row.id: compose(row, grid.amp) for row in grid.rows})  # while the machine is quiet
        with changing(out, grid.name) as content:
            content['cost'] = measured
    gc.collect()  # runners refer to themselves
    torch.cuda.empty_cache()  # the GPU is the trainings' from here on
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    watch = Watch(runs)
    try:
        with watch.bar:
            failed = run_all(runs, args.jobs, watch)
    except KeyboardInterrupt:
        sys.exit('Stopped. The same command resumes from the last checkpoints.')
    results = Results(grid, out)
    if not results.runs.empty:
        print(f'\n{accuracy(results)}')
    if failed:
        sys.exit(f'Failed: {", ".join(run.name for run in failed)}. The same command tries again.')
