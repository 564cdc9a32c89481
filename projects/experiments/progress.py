"""How far the runs are, read off their logs: a live table in a terminal, a few lines a minute elsewhere."""

import time
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.live import Live
from rich.table import Table

from .grid import Run
from .log import TrainingLog

__all__ = ['Progress']


class Progress:
    """Shows the runs at work, within a ``with`` block.

    Args:
        folders (dict[str, Path]): work dirs of all runs to do, by the run's name.
        iterations (dict[str, int]): that each of them trains in all, by the run's name.
        jobs (int): how many run at a time.
        every (float, optional): seconds between two looks. Defaults to None: 5 in a terminal, 60 elsewhere.
    """

    def __init__(self, folders: dict[str, Path], iterations: dict[str, int], jobs: int, every: float | None = None):
        self.folders, self.iterations, self.jobs = folders, iterations, jobs
        self.console = Console(highlight=False)
        self.every = every if every is not None else 5 if self.console.is_terminal else 60
        self.live = Live(console=self.console, auto_refresh=False)
        self.shown = time.monotonic()

    def __enter__(self) -> 'Progress':
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_) -> None:
        self.live.stop()

    def __call__(self, working: Collection[Run]) -> None:
        """Show how far these runs are, and how long all of them will take."""
        if time.monotonic() - self.shown < self.every:
            return
        self.shown = time.monotonic()
        if self.console.is_terminal:
            self.live.update(self._table(working), refresh=True)
        else:
            for cells in self.describe(working):
                print(*cells, sep='  ', flush=True)

    def describe(self, working: Collection[Run]) -> list[tuple[str, ...]]:
        """Name, iterations, newest mIoU, pace and time left of every run at work; at the end, of all together."""
        logs = {name: TrainingLog(folder) for name, folder in self.folders.items()}
        left = {name: self.iterations[name] - log.iterations for name, log in logs.items()}
        paces = {name: log.seconds_per_iteration for name, log in logs.items() if log.trained}
        rows = []
        for name in (run.name for run in working):
            score = f'mIoU {logs[name].curve[-1][1]:.2f}' if logs[name].curve else ''
            pace = ('starting', '')
            if name in paces:
                rest = f'{_duration(left[name] * paces[name])} left' if left[name] else 'testing'
                pace = (f'{paces[name]:.2f} s/it', rest)
            rows.append((name, f'{logs[name].iterations}/{self.iterations[name]}', score, *pace))
        if paces:
            typical = median(paces.values())
            seconds = sum(left[name] * paces.get(name, typical) for name in left) / self.jobs
            done = sum(not iterations for iterations in left.values())
            rows.append((f'{done} of {len(left)} trained', '', '', '', f'{_duration(seconds)} left'))
        return rows

    def _table(self, working: Collection[Run]) -> Table:
        table = Table.grid(padding=(0, 2))
        for cells in self.describe(working):
            table.add_row(*cells)
        return table


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
