"""Grids and results as files, with numbers of one's choice."""

import json
from pathlib import Path

from projects.experiments.grid import Grid, Run, load_grid
from projects.experiments.record import write_json

CONFIGS = dict(
    baseline='projects/street_scenes/configs/street_scenes_baseline.py',
    DSRL='projects/street_scenes/configs/street_scenes.py',
)


def write_grid(folder: Path, rows: dict | None = None, **keys) -> Path:
    """A grid file of two rows and two seeds."""
    rows = rows or {title: dict(config=config) for title, config in CONFIGS.items()}
    file = folder / 'grid.yml'  # JSON is YAML
    file.write_text(json.dumps(dict(name='toy', title='A toy', seeds=[0, 1], rows=rows) | keys))
    return file


def make_grid(folder: Path, **keys) -> Grid:
    return load_grid(write_grid(folder, **keys))


def write_result(run: Run, folder: Path, miou: float, **values) -> None:
    """What a run leaves: two classes of the same IoU, a curve of two points that ends there."""
    metrics = {'mIoU': miou, 'IoU.road': miou, 'IoU.pole': miou, 'mBF': miou / 2, 'mBIoU': miou / 4}
    metrics |= {'BF.road': miou / 2, 'BF.pole': None} | values.pop('metrics', {})
    result = dict(
        metrics=metrics,
        curve=[[10, miou / 2], [20, miou]],
        train_seconds=3600.0,
        sessions=[dict(code=dict(commit='0123456789', dirty=False), device='a CPU', peak_memory_mib=1024.0)],
    )
    write_json(folder / f'{run.id}.json', run.settings | result | values)
