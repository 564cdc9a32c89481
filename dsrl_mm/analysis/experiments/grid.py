"""A grid of trainings as a YAML file declares it: every row of a table, with every seed."""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmengine.fileio import load

__all__ = ['ROOT', 'Grid', 'Row', 'Run', 'load_grid']

#: Of the repository: where grids look for configs.
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Row:
    """What the runs of one line of the table have in common."""

    title: str
    config: str  # a file, from the root of the repository
    options: dict[str, Any] = field(default_factory=dict)  # as of --cfg-options
    series: str | None = None  # the line of the picture of sizes that it is a point of

    @property
    def slug(self) -> str:
        """The title as a part of file names."""
        return re.sub(r'[^a-z0-9]+', '-', self.title.lower()).strip('-')


@dataclass(frozen=True)
class Run:
    """One training."""

    row: Row
    seed: int
    amp: bool

    @property
    def name(self) -> str:
        """In what is printed; differs within a grid."""
        return f'{self.row.slug}-seed{self.seed}'

    @property
    def id(self) -> str:
        """As a part of file names: that of the settings, so that rows of several grids can share a training."""
        digest = sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]
        return f'{Path(self.row.config).stem}-seed{self.seed}-{digest}'

    @property
    def settings(self) -> dict[str, Any]:
        """All that the outcome depends on, for JSON."""
        return dict(config=self.row.config, options=self.row.options, amp=self.amp, seed=self.seed)

    def arguments(self, work_dir: str | Path) -> list[str]:
        """The command line after ``tools/train.py``."""
        options = {'randomness.seed': self.seed} | self.row.options
        return [
            str(ROOT / self.row.config),
            *(['--amp'] if self.amp else []),
            *('--work-dir', str(work_dir)),
            *('--cfg-options', *(f'{key}={value}'.replace(' ', '') for key, value in options.items())),
        ]


@dataclass(frozen=True)
class Grid:
    """The whole table."""

    name: str  # of the folder for tables and pictures
    title: str
    rows: list[Row]
    seeds: list[int]
    amp: bool = False

    def runs(self, only: Collection[str] | None = None, seeds: Collection[int] | None = None) -> list[Run]:
        """All runs, or those of some rows and seeds; every row's of a seed before the next seed.

        Args:
            only (Collection[str], optional): titles or slugs of rows.
            seeds (Collection[int], optional): of the grid's.

        Raises:
            ValueError: if the grid has no such row or seed.
        """
        rows = self.rows
        if only is not None:
            _refuse_unknown(only, [name for row in rows for name in (row.title, row.slug)], 'The grid has no row')
            rows = [row for row in rows if row.title in only or row.slug in only]
        if seeds is not None:
            _refuse_unknown(seeds, self.seeds, 'The grid has no seed')
        return [Run(row, seed, self.amp) for seed in self.seeds if seeds is None or seed in seeds for row in rows]


def _refuse_unknown(found: Collection, known: Sequence, complaint: str) -> None:
    unknown = [name for name in found if name not in known]
    if unknown:
        raise ValueError(f'{complaint} {", ".join(map(repr, unknown))}; known are {", ".join(map(repr, known))}')


def _check_keys(declared: Any, required: Sequence[str], optional: Sequence[str], where: str) -> None:
    if not isinstance(declared, dict):
        raise ValueError(f'{where} must be a mapping with the keys {", ".join(required)}, but is {declared!r}')
    _refuse_unknown(declared, [*required, *optional], f'{where} has the unknown key')
    missing = [key for key in required if key not in declared]
    if missing:
        raise ValueError(f'{where} lacks {" and ".join(missing)}')


def _row(title: str, declared: Any, where: str) -> Row:
    where = f'{where}: the row {title!r}'
    _check_keys(declared, ['config'], ['options', 'series'], where)
    if not (ROOT / declared['config']).is_file():
        raise FileNotFoundError(f'{where}: there is no config {declared["config"]} in the repository')
    for key, value in declared.get('options', {}).items():
        if isinstance(value, dict):
            raise ValueError(f'{where}: the option {key} is a mapping. Write its keys with dots: {key}.KEY: VALUE')
    return Row(title, **declared)


def load_grid(path: str | Path) -> Grid:
    """Read a grid from a YAML file.

    Its keys are those of :class:`Grid`, except that ``rows`` maps titles to the other keys of :class:`Row`.

    Raises:
        ValueError: for keys that are missing or unknown, and rows of the same title or of the same training.
        FileNotFoundError: if the config of a row does not exist.
    """
    declared = load(path)
    _check_keys(declared, ['name', 'title', 'seeds', 'rows'], ['amp'], str(path))
    rows = [_row(title, row, str(path)) for title, row in declared['rows'].items()]
    slugs = [row.slug for row in rows]
    for row in rows:
        if not row.slug or slugs.count(row.slug) > 1:
            alike = [other.title for other in rows if other.slug == row.slug]
            raise ValueError(f'{path}: titles of rows must differ in letters or digits, but {alike} do not')
        alike = [other.title for other in rows if (other.config, other.options) == (row.config, row.options)]
        if len(alike) > 1:
            raise ValueError(f'{path}: the rows {alike} have the same config and options')
    return Grid(**declared | dict(rows=rows))
