"""Grid of training runs, declared in a YAML file: rows of a table, each with every seed."""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_origin

import yaml

from dsrl_mm.engine.config import nearest

__all__ = ['GRIDS', 'Grid', 'Row', 'load_grid']

#: The committed grids.
GRIDS = Path(__file__).parent / 'grids'
#: Tables and pictures that a grid can have in addition to its table of accuracy.
SHOWN = ('seeds', 'classes', 'cost', 'curves', 'sizes')
Kind = TypeVar('Kind')


@dataclass(frozen=True)
class Row:
    """Row of the table."""

    title: str
    id: str  # of its record: rows of the same id, also of other grids, share trainings
    config: str  # a file, from the root of the repository
    options: dict[str, Any] = field(default_factory=dict)  # by dotted keys, over the config
    series: str = ''  # the line of the picture of sizes that it is a point of


@dataclass(frozen=True)
class Grid:
    """Grid of rows and seeds."""

    name: str  # of the file
    title: str
    rows: list[Row]
    seeds: list[int]
    amp: bool = False
    show: list[str] = field(default_factory=list)  # of SHOWN


def _build(kind: type[Kind], values: dict[str, Any], where: str) -> Kind:
    known = {field.name: get_origin(field.type) or field.type for field in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f'{where}: unknown key {key!r}; did you mean {nearest(str(key), known)!r}?')
        if type(value) is not known[key]:
            raise ValueError(f'{where}: {key} must be a {known[key].__name__}, got {value!r}')
    try:
        return kind(**values)
    except TypeError as error:  # names the keys that are missing
        raise ValueError(f'{where}: {error}') from error


def load_grid(path: str | Path) -> Grid:
    """Read a grid from a YAML file, whose keys are those of :class:`Grid`; ``rows`` maps titles to :class:`Row`.

    Raises:
        ValueError: if a key is unknown or missing, a value has the wrong type, or two rows have the same id.
    """
    path = Path(path)
    values = yaml.safe_load(path.read_text(encoding='utf-8'))
    rows = values.get('rows')
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise ValueError(f'{path}: rows must map titles to mappings, got {rows!r}')
    rows = [_build(Row, dict(title=title, **row), f'{path}: row {title!r}') for title, row in rows.items()]
    grid = _build(Grid, values | dict(name=path.stem, rows=rows), str(path))
    if not all(type(seed) is int for seed in grid.seeds) or not 0 < len({*grid.seeds}) == len(grid.seeds):
        raise ValueError(f'{path}: seeds must be different whole numbers, got {grid.seeds}')
    if not {*grid.show} <= {*SHOWN}:
        raise ValueError(f'{path}: show must list some of {", ".join(SHOWN)}, got {grid.show}')
    ids = [row.id for row in rows]
    for row in rows:
        if ids.count(row.id) > 1 or not re.fullmatch(r'\w[\w.-]*', row.id):
            raise ValueError(f'{path}: row {row.title!r}: the id {row.id!r} is in use, or not fit for a file name')
    return grid
