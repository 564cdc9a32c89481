"""Grid of training runs, declared in a YAML file: rows of a table, each with every seed."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: The committed grids.
GRIDS = Path(__file__).parent / 'grids'
#: Tables and pictures that a grid can have in addition to its table of accuracy.
SHOWN = ('seeds', 'classes', 'cost', 'curves', 'latency')


@dataclass(frozen=True)
class Row:
    """Row of the table."""

    title: str
    id: str  # of its records: rows of the same id, also of other grids, share trainings
    config: str  # a file, from the root of the repository
    options: dict[str, Any] = field(default_factory=dict)  # by dotted keys, over the config
    series: str = ''  # the line of the picture of latency that it is a point of

    def __post_init__(self):
        if not re.fullmatch(r'\w[\w.-]*', str(self.id)):
            raise ValueError(f'id must be fit for a file name, got {self.id!r}')
        if not isinstance(self.options, dict):
            raise ValueError(f'options must be a mapping, got {self.options!r}')


@dataclass(frozen=True)
class Grid:
    """Grid of rows and seeds."""

    name: str  # of the file
    title: str
    rows: list[Row]
    seeds: list[int]
    amp: bool = False
    show: list[str] = field(default_factory=list)  # of SHOWN

    def __post_init__(self):
        seeds = self.seeds if isinstance(self.seeds, list) else []
        if not all(type(seed) is int for seed in seeds) or not 0 < len({*seeds}) == len(seeds):
            raise ValueError(f'seeds must be different whole numbers, got {self.seeds}')
        if not isinstance(self.amp, bool):
            raise ValueError(f'amp must be true or false, got {self.amp!r}')
        if not {*self.show} <= {*SHOWN}:
            raise ValueError(f'show must list some of {", ".join(SHOWN)}, got {self.show}')
        if len({row.id for row in self.rows}) < len(self.rows):
            raise ValueError(f'rows must have different ids, got {[row.id for row in self.rows]}')


class _Loader(yaml.SafeLoader):
    """Loader that refuses a key given twice, such as the title of a copied row. YAML would keep the last one."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f'{twice[0]!r} is given twice')
        return node


def load_grid(path: str | Path) -> Grid:
    """Read a grid from a YAML file, whose keys are those of :class:`Grid`; ``rows`` maps titles to :class:`Row`.

    Raises:
        ValueError: if it is no YAML, a key is unknown or missing, or a value is wrong.
    """
    where = path
    try:
        values = yaml.load(Path(path).read_text(encoding='utf-8'), _Loader)
        rows = values.get('rows') if isinstance(values, dict) else None
        if not rows or not isinstance(rows, dict):
            raise ValueError(f'rows must map titles to mappings, got {rows!r}')
        for title in rows:
            where = f'{path}: row {title!r}'
            rows[title] = Row(title=str(title), **rows[title])
        where = path
        return Grid(name=Path(path).stem, **values | dict(rows=[*rows.values()]))
    except (TypeError, ValueError, yaml.YAMLError) as error:  # of a key that is unknown or missing, or of a value
        raise ValueError(f'{where}: {error}') from error
