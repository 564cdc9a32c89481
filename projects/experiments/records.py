"""Records of runs: a file per grid with a line of JSON per run, and one with the cost of its networks.

A record holds the whole composed config that its run was trained with. It is found by id and seed, so that options,
files and classes can be renamed.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from dsrl_mm.engine.arguments import read_json

#: The committed records.
FOLDER = Path(__file__).parent / 'records'


def append(file: Path, entry: dict) -> None:
    """Append a line of JSON in one system call, so that several writers lose nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('ab', buffering=0) as stream:
        stream.write(f'{json.dumps(entry)}\n'.encode())


def read_lines(file: Path) -> list[dict]:
    """Read the lines of JSON in a file."""
    entries = []
    for number, line in enumerate(file.read_text(encoding='utf-8').splitlines(), 1):
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f'{file}, line {number} is damaged: {error}. Restore it, or remove it') from error
    return entries


def read_records(folder: Path) -> dict[tuple[str, int], dict]:
    """Read all records by id and seed."""
    runs = (run for file in sorted(folder.glob('*.jsonl')) for run in read_lines(file))
    return {(run['id'], run['seed']): run for run in runs}


def write_costs(folder: Path, grid: str, costs: dict) -> None:
    """Write the result of :func:`~projects.experiments.cost.measure` for a grid."""
    Path(folder, f'{grid}.cost.json').write_text(f'{json.dumps(costs, indent=1)}\n', encoding='utf-8')


def read_costs(folder: Path, grid: str) -> dict[str, dict]:
    """Read the rows that :func:`write_costs` wrote; none if not measured."""
    file = Path(folder, f'{grid}.cost.json')
    return read_json(file)['rows'] if file.exists() else {}


def read_log(work_dir: Path) -> pd.DataFrame:
    """Read MMEngine's log of all sessions in a work dir, which may be written right now, by iteration.

    An iteration that a later session repeated counts once, as that session logged it. What the last session, which
    resumed from an earlier checkpoint, has yet to repeat is left out: the last row says where the training is.
    """
    texts = (file.read_text() for file in sorted(work_dir.glob('*/vis_data/scalars.json')))
    lines = [json.loads(line) for text in texts for line in text.split('\n')[:-1]]  # the last one is not complete
    log = pd.DataFrame(lines or [dict(step=0)])
    log = log[log.step <= log.step.iloc[-1]].groupby('step').last()
    return log.reindex(columns=[*dict.fromkeys([*log, 'loss', 'time', 'memory', 'mIoU'])])


def course(log: pd.DataFrame, points: int = 50) -> dict[str, Any]:
    """Summarize a log.

    Returns:
        dict: ``curve`` (iterations and mIoU on the validation set, percent), ``losses`` (by name, at most ``points``
        evenly spaced ones, and their ``iteration``) and ``train_seconds`` (of all iterations at the median pace:
        without validation, pauses and what was done twice).
    """
    trained = log.dropna(subset='loss')
    losses = trained.filter(like='loss')[:: -(-len(trained) // points) or 1].round(5)  # of a short run, none is logged
    return dict(
        curve=[*log['mIoU'].dropna().round(5).items()],
        losses=losses.rename_axis('iteration').reset_index().to_dict('list'),
        train_seconds=trained['time'].median() * trained.index.max(),
    )
