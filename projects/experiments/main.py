"""The command behind ``tools/run_experiments.py``."""

import argparse
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from dsrl_mm import cli
from dsrl_mm.apis import task_of
from dsrl_mm.apis.compare import quiet
from dsrl_mm.engine.config import type_name
from dsrl_mm.engine.loading import without_pretrained

from .cost import costs
from .grid import ROOT, Grid, Run, load_grid
from .plots import plot_classes, plot_curves, plot_sizes
from .progress import Progress
from .record import write_file
from .results import read_result, read_results
from .run import TAKEN, busy, command
from .schedule import run_all
from .summary import SCORES_OF_CLASSES, pictures, summary

__all__ = ['main', 'summarize']


def _check(run: Run) -> int:
    """Check the data of a run and build all that trains; gives back how many iterations that are.

    Raises:
        ValueError: if it does not train by iterations, has no canvas, or saves no last checkpoint, elsewhere, or in a
            way that a kill can spoil.
    """
    print(f'Checking "{run.row.title}"')
    with TemporaryDirectory() as folder:
        cfg = cli.training_config(run.arguments(folder))
        if 'max_iters' not in cfg.train_cfg:
            raise ValueError(f'{run.row.config} has no train_cfg.max_iters: only trainings by iterations are run')
        task_of(cfg).network_input(cfg)
        hook = cfg.default_hooks.checkpoint
        elsewhere = not hook.get('save_last', True) or {'filename_tmpl', 'out_dir'} & hook.keys()
        if elsewhere or hook.get('by_epoch', True) or type_name(hook) != 'SafeCheckpointHook':
            raise ValueError(
                f'{run.row.config}: the last checkpoint is looked for as iter_N.pth in the work dir, complete or not '
                'there. default_hooks.checkpoint must have type="SafeCheckpointHook" and by_epoch=False, and neither '
                'save_last nor filename_tmpl nor out_dir'
            )
        cli.preflight(cfg, ('train', 'val', 'test'))
        cfg.model = without_pretrained(cfg.model)
        # A name of its own, or MMEngine would go on with the visualizer of the row before.
        cfg.merge_from_dict(dict(log_level='ERROR', visualizer=None, experiment_name=Path(folder).name))
        runner = Runner.from_cfg(cfg)
        runner.build_train_loop(cfg.train_cfg)
        runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
        runner.build_param_scheduler(cfg.param_scheduler)
        _compute_loss(runner, cfg)
    return cfg.train_cfg.max_iters


def _compute_loss(runner: Runner, cfg: Config) -> None:
    """Let two images through the network: channels and strides that do not fit show only then."""
    loader = dict(cfg.train_dataloader, batch_size=2, num_workers=0, persistent_workers=False)
    model = runner.model.train()
    with torch.no_grad():
        model(**model.data_preprocessor(next(iter(Runner.build_dataloader(loader))), training=True), mode='loss')


def _train(
    runs: Sequence[Run],
    iterations: dict[str, int],
    jobs: int,
    work_dir: Path,
    results: Path,
    done: Callable[[], object],
) -> list[Run]:
    """Do all runs, calling ``done`` after each that has a result; gives back those that failed."""
    # The formatter behind this writes a cache when it is first imported ever; there the processes would collide.
    Config().pretty_text  # noqa: B018

    folders = {run.name: work_dir / run.id for run in runs}
    logs = {name: folder / 'log.txt' for name, folder in folders.items()}

    def report(run: Run, failed: bool) -> None:
        if not failed:
            try:
                done()
            except Exception as error:  # of whatever kind: the other trainings are worth more
                print(f'The tables were not written: {error!r}. Trainings go on', flush=True)
            return
        end = logs[run.name].read_text(errors='replace').splitlines()[-15:]
        print(f'{run.name} failed. The end of {logs[run.name]}:', *end, sep='\n', flush=True)

    with Progress(folders, iterations, jobs) as progress:
        return run_all(
            runs,
            jobs,
            lambda run: command(run, folders[run.name], results / f'{run.id}.json'),
            lambda run: logs[run.name],
            progress,
            report,
            lambda run: busy(folders[run.name]),
            TAKEN,
        )


def summarize(grid: Grid, folder: Path, out: Path) -> Path:
    """Write ``summary.md`` and its pictures, from results and what the networks cost.

    Args:
        grid (Grid): the rows.
        folder (Path): of the results.
        out (Path): folder to write to.

    Returns:
        Path: of the summary.
    """
    results, cost = read_results(grid, folder), costs(grid, out / 'cost.json')
    write_file(out / 'summary.md', summary(grid, results, cost).encode())
    plots = {name: partial(plot_classes, results, score) for name, score in SCORES_OF_CLASSES.items()}
    plots |= dict(curves=partial(plot_curves, results), sizes=partial(plot_sizes, grid, results, cost))
    for name in pictures(grid, results):
        buffer = BytesIO()
        plots[name]().savefig(buffer, dpi=120)
        write_file(out / f'{name}.png', buffer.getvalue())
    return out / 'summary.md'


def main(argv: Sequence[str] | None = None) -> None:
    """Train and test every row of a grid with every seed, and put them in a table; a second call goes on."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('grid', help='YAML file, see configs/experiments')
    parser.add_argument(
        '--jobs',
        type=int,
        default=2,
        help='runs at a time, on the same device; a second call, on another GPU, takes other runs',
    )
    parser.add_argument('--only', nargs='+', metavar='ROW', help='titles of rows; the others wait')
    parser.add_argument('--seeds', nargs='+', type=int, help="of the grid's; the others wait")
    parser.add_argument('--summary-only', action='store_true', help='no training: the table of what is there')
    work_dir = ROOT / 'work_dirs/experiments'
    parser.add_argument('--work-dir', type=Path, default=work_dir, help='for logs and checkpoints')
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/experiments', help='for results, tables, pictures')
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error('--jobs must be at least 1')
    quiet()
    grid = load_grid(args.grid)
    out, results = args.out / grid.name, args.out / 'runs'
    runs = [run for run in grid.runs(args.only, args.seeds) if read_result(run, results) is None]
    failed = []
    if runs and not args.summary_only:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
                signal.signal(number, lambda number, _: sys.exit(128 + number))
        lengths = {title: _check(run) for title, run in {run.row.title: run for run in runs}.items()}
        costs(grid, out / 'cost.json')  # before the trainings keep the machine busy
        gc.collect()  # runners refer to themselves
        torch.cuda.empty_cache()  # the GPU is the trainings' from here on
        try:
            iterations = {run.name: lengths[run.row.title] for run in runs}
            failed = _train(runs, iterations, args.jobs, args.work_dir, results, lambda: summarize(grid, results, out))
        except KeyboardInterrupt:
            sys.exit('Stopped. The same command goes on from the last checkpoints.')
    print(f'\n{summarize(grid, results, out)}')
    if failed:
        sys.exit(f'Failed: {", ".join(run.name for run in failed)}. The same command tries again.')
