"""What the runs of a grid came to, from the files that they wrote."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from .grid import Grid, Run
from .record import read_json

__all__ = ['Statistic', 'compared', 'gain', 'metric', 'read_result', 'read_results']


@dataclass(frozen=True)
class Statistic:
    """Of one number over seeds."""

    mean: float
    std: float | None  # of the sample: over n - 1; None for one seed

    @classmethod
    def of(cls, values: Iterable[float | None]) -> 'Statistic | None':
        """Of the values that are known; None if none is."""
        known = [value for value in values if value is not None]
        return cls(mean(known), stdev(known) if len(known) > 1 else None) if known else None


def read_result(run: Run, folder: Path) -> dict | None:
    """The result of a run, None while there is none.

    Args:
        run (Run): of the grid.
        folder (Path): of all results.

    Raises:
        ValueError: if the file is no JSON.
    """
    file = folder / f'{run.id}.json'
    return read_json(file, 'its run is tested again') if file.exists() else None


def read_results(grid: Grid, folder: Path) -> dict[str, dict[int, dict]]:
    """The results there are, by title and seed; see :func:`read_result`."""
    results = {row.title: {} for row in grid.rows}
    for run in grid.runs():
        if result := read_result(run, folder):
            results[run.row.title][run.seed] = result
    return results


def metric(runs: dict[int, dict], name: str) -> Statistic | None:
    """One of the metrics over a row's seeds; None where no run has it."""
    return Statistic.of(result['metrics'].get(name) for result in runs.values())


def gain(runs: dict[int, dict], first: dict[int, dict], name: str) -> Statistic | None:
    """By how much a metric is above that of another row, over the seeds that both have it of; None where none do."""
    pairs = [(runs[seed]['metrics'].get(name), first[seed]['metrics'].get(name)) for seed in runs.keys() & first.keys()]
    return Statistic.of(ours - theirs for ours, theirs in pairs if None not in (ours, theirs))


def compared(results: dict[str, dict[int, dict]]) -> dict[str, dict[int, dict]]:
    """The rows, other than the first, that share a seed with it."""
    (_, first), *others = results.items()
    return {title: runs for title, runs in others if runs.keys() & first.keys()}
