"""Command that rehearses a grid, then trains and tests the runs without a record, several at a time."""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from mmengine.config import Config
from tqdm import tqdm

from dsrl_mm.apis.compare import quiet
from dsrl_mm.engine.arguments import positive

from .config import ROOT, compose, differences
from .cost import measure
from .grid import Grid, Row, load_grid
from .records import FOLDER, read_costs, read_log, read_records, write_costs
from .run import Run, stop
from .tables import Results, accuracy


def _prepare(grid: Grid, row: Row, left: Sequence[int], work_dir: Path, records: Path) -> list[Run]:
    """Return the runs of a row for the seeds that are left, after a rehearsal.

    Raises:
        ValueError: if the row cannot be trained, or a run was begun with another config.
    """
    print(f'Rehearsing "{row.title}"', flush=True)
    try:
        text, file = compose(row, grid.amp), records / f'{grid.name}.jsonl'
        runs = [Run(row.id, seed, text, work_dir / f'{row.id}-seed{seed}', file) for seed in left]
        for run in runs:
            if run.config.exists() and (differ := differences(run.config.read_text(encoding='utf-8'), text)):
                told = '\n  '.join(
                    [f'{run.folder} was begun with another config: remove it, or change the id', *differ]
                )
                raise ValueError(told)
        runs[0].rehearse()
        return runs
    except Exception as error:
        raise ValueError(f'{grid.name}: row {row.title!r}: {error}') from error


def _note_differences(row: Row, amp: bool, then: str) -> None:
    """Print how the config of a record differs from the current config of its row. The record remains valid."""
    try:
        differ = differences(then, compose(row, amp))
    except (OSError, ValueError) as error:
        differ = [f'today there is none: {error}']
    if differ:
        print(f'Note: {row.id} was trained with another config than its row has today:', *differ, sep='\n  ')


def _execute(runs: Sequence[Run], jobs: int) -> list[str]:
    """Execute runs in order, and name those that failed. A failed run stops no other; all end with this function."""

    def trained() -> int:
        return sum(read_log(run.folder / 'train').index[-1] for run in runs)

    pool, failed = ThreadPoolExecutor(jobs), []
    left = {pool.submit(run.execute): run for run in runs}
    try:
        with tqdm(total=sum(run.iterations for run in runs), initial=trained(), smoothing=0.05) as bar:
            while left:
                finished, _ = wait(left, timeout=30, return_when=FIRST_COMPLETED)
                bar.update(trained() - bar.n)
                for future in finished:
                    name = left.pop(future).folder.name
                    if error := future.exception():
                        failed.append(name)
                        bar.write(f'{name} failed: {error}')
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        stop()
        pool.shutdown()
    return failed


def main(argv: Sequence[str] | None = None) -> None:
    """Train and test every row of a grid with every seed, and record the results. The same command resumes."""
    parser = argparse.ArgumentParser('python -m projects.experiments', description=main.__doc__)
    parser.add_argument('grid', help='YAML file, see projects/experiments/grids')
    parser.add_argument('--jobs', type=positive, default=2, help='runs at a time, on one device')
    parser.add_argument('--only', nargs='+', metavar='ROW', help='titles or ids of the rows to train')
    parser.add_argument('--seeds', nargs='+', type=int, help="seeds to train, of the grid's")
    parser.add_argument('--out', type=Path, default=FOLDER, help='folder of the records')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/experiments', help='for checkpoints')
    args = parser.parse_args(argv)
    grid, out, work_dir = load_grid(args.grid), args.out.resolve(), args.work_dir.resolve()
    seeds, names = args.seeds or grid.seeds, [name for row in grid.rows for name in (row.title, row.id)]
    if unknown := {*seeds} - {*grid.seeds} | {*(args.only or ())} - {*names}:
        parser.error(f'the grid has no {unknown}; it has seeds {grid.seeds} and rows {names}')
    quiet()
    runs, records = [], read_records(out)
    try:
        for row in grid.rows:
            if args.only and not {row.title, row.id} & {*args.only}:
                continue
            if recorded := [seed for seed in seeds if (row.id, seed) in records]:
                _note_differences(row, grid.amp, records[row.id, recorded[0]]['config'])
            if left := [seed for seed in seeds if seed not in recorded]:
                runs += _prepare(grid, row, left, work_dir, out)
        runs.sort(key=lambda run: grid.seeds.index(run.seed))  # every row of a seed before the next seed
        failed = _execute(runs, args.jobs)
    except KeyboardInterrupt:
        sys.exit('Stopped. The same command resumes from the last checkpoints.')
    finally:
        stop()  # a rehearsal, too
    results = Results(grid, out)
    if not results.runs.empty:
        print(f'\n{accuracy(results)}')
    if {'cost', 'latency'} & {*grid.show} and {row.id for row in grid.rows} - read_costs(out, grid.name).keys():
        print('Measuring the cost of inference', flush=True)
        configs = {row.id: Config.fromstring(compose(row, grid.amp), '.py') for row in grid.rows}
        write_costs(out, grid.name, measure(configs))
    if failed:
        sys.exit(f'Failed: {", ".join(failed)}. The same command tries again.')
