"""A grid of trainings as a YAML file declares it: every row of a table, with every seed."""

import argparse
import inspect
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmengine.config import DictAction
from mmengine.fileio import load
from mmengine.runner import Runner

from dsrl_mm import cli

__all__ = ['ROOT', 'Grid', 'Row', 'Run', 'load_grid']

#: Of the repository: where grids look for configs.
ROOT = Path(__file__).parents[2]
#: What a training's outcome depends on, of a config.
_OUTCOME = (
    'model',
    'optim_wrapper',
    'param_scheduler',
    'train_cfg',
    'train_dataloader',
    'test_dataloader',
    'custom_hooks',
    'load_from',
)
#: The same, of configs that have it.
_OPTIONAL_OUTCOME = ('auto_scale_lr',)
#: Hooks that every config has, and that watch a training without changing what comes out of it.
_WATCHING = ('timer', 'logger', 'param_scheduler', 'checkpoint', 'sampler_seed', 'visualization')
#: What differs from machine to machine, of these.
_LOCAL = ('data_root', 'num_workers', 'persistent_workers')
#: What a config's options can set. All other names are those that files of configs have for themselves, and what a
#: result does not depend on: every run is tested by the same metrics, and validated only for its curve.
_READ = inspect.signature(Runner.__init__).parameters.keys() - {
    'self',
    'cfg',
    'data_preprocessor',  # of a model without one of its own, which OpenMMLab's configs do not have
    'test_evaluator',
    'val_dataloader',
    'val_evaluator',
}


def _portable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _portable(inner) for key, inner in value.items() if key not in _LOCAL}
    return [_portable(inner) for inner in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True)
class Row:
    """What the runs of one line of the table have in common."""

    title: str
    config: str  # a file, from the root of the repository
    options: dict[str, Any] = field(default_factory=dict)  # as of --cfg-options
    series: str | None = None  # the line of the picture of sizes that it is a point of

    @property
    def slug(self) -> str:
        """The title, for command lines."""
        return re.sub(r'[^a-z0-9]+', '-', self.title.lower()).strip('-')

    @property
    def arguments(self) -> list[str]:
        """The command line after ``tools/train.py``."""
        options = (f'{key}={value}'.replace(' ', '') for key, value in self.options.items())
        return [str(ROOT / self.config), *(('--cfg-options', *options) if self.options else ())]

    @cached_property
    def tested_on(self) -> str:
        """The data set, and the folder in it, of the images that scores are of."""
        dataset = cli.training_config(self.arguments).test_dataloader.dataset
        folder = dataset.get('data_prefix', {}).get('img_path', '')
        return f'{dataset.type} {folder}'.strip()

    @cached_property
    def digest(self) -> str:
        """Of the composed config, as far as a training's outcome depends on it."""
        cfg = cli.training_config(self.arguments)
        keys = [*_OUTCOME, *(key for key in _OPTIONAL_OUTCOME if key in cfg)]
        if 'data_preprocessor' not in cfg.model and 'data_preprocessor' in cfg:
            keys.append('data_preprocessor')
        outcome = {key: _portable(cfg.get(key)) for key in keys}
        if hooks := {name: hook for name, hook in cfg.get('default_hooks', {}).items() if name not in _WATCHING}:
            outcome['default_hooks'] = hooks
        if randomness := {key: value for key, value in cfg.get('randomness', {}).items() if key != 'seed'}:
            outcome['randomness'] = randomness
        return sha256(json.dumps(outcome, sort_keys=True, default=str).encode()).hexdigest()[:8]


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
        """As a part of file names, and of all that is trained: grids share trainings, and none is taken for another."""
        return '-'.join([Path(self.row.config).stem, *['amp'] * self.amp, f'seed{self.seed}', self.row.digest])

    @property
    def settings(self) -> dict[str, Any]:
        """What the grid says of it, for JSON."""
        return dict(config=self.row.config, options=self.row.options, amp=self.amp, seed=self.seed)

    def arguments(self, work_dir: str | Path) -> list[str]:
        """The command line after ``tools/train.py``."""
        row = Row(self.row.title, self.row.config, {'randomness.seed': self.seed} | self.row.options)
        return [*row.arguments, '--work-dir', str(work_dir), *['--amp'] * self.amp]


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


def _check_type(value: Any, right: bool, name: str, wanted: str) -> None:
    if not right:
        raise ValueError(f'{name} must be {wanted}, got {value!r}')


def _row(title: Any, declared: Any, where: str) -> Row:
    _check_type(title, isinstance(title, str), f"{where}: a row's title", 'a text; write it in quotes')
    where = f'{where}: the row {title!r}'
    _check_keys(declared, ['config'], ['options', 'series'], where)
    options = declared.get('options', {})
    _check_type(options, isinstance(options, dict), f'{where}: options', 'a mapping; leave the key out for none')
    for key in declared.keys() & {'config', 'series'}:
        _check_type(declared[key], isinstance(declared[key], str), f'{where}: {key}', 'a text')
    if not (ROOT / declared['config']).is_file():
        raise FileNotFoundError(
            f'{where}: there is no config {declared["config"]} in {ROOT}; elsewhere, it needs an absolute path'
        )
    for key, value in options.items():
        if '{' in str(value):
            raise ValueError(f'{where}: the option {key} holds a mapping. Write its keys with dots: {key}.KEY: VALUE')
        if key == 'randomness.seed':
            raise ValueError(f"{where}: the option randomness.seed is the grid's to set, by its seeds")
        if key.split('.')[0] not in _READ:
            raise ValueError(
                f'{where}: the option {key} sets nothing that results depend on. Known are {", ".join(sorted(_READ))}, '
                'each with .KEY behind it where it is a mapping'
            )
    row = Row(title, **declared)
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parsed = parser.parse_args(row.arguments[1:]).cfg_options
    for key, value in options.items():
        if (parsed[key], type(parsed[key])) != (value, type(value)):
            raise ValueError(f'{where}: the option {key} is {value!r}, which --cfg-options reads as {parsed[key]!r}')
    return row


def load_grid(path: str | Path) -> Grid:
    """Read a grid from a YAML file.

    Its keys are those of :class:`Grid`, except that ``rows`` maps titles to the other keys of :class:`Row`.

    Raises:
        ValueError: for keys that are missing or unknown, values of another type than the key's, options that set
            nothing, and rows of the same title or of the same training.
        FileNotFoundError: if the config of a row does not exist.
    """
    declared = load(path)
    _check_keys(declared, ['name', 'title', 'seeds', 'rows'], ['amp'], str(path))
    name, seeds, rows = declared['name'], declared['seeds'], declared['rows']
    folder = isinstance(name, str) and name and Path(name).name == name and name not in ('..', 'runs')
    _check_type(name, folder, f'{path}: name', "a folder's name, but not runs, where results are")
    _check_type(title := declared['title'], isinstance(title, str), f'{path}: title', 'a text')
    numbers = isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)
    _check_type(seeds, numbers and len({*seeds}) == len(seeds), f'{path}: seeds', 'a list of different whole numbers')
    _check_type(rows, isinstance(rows, dict) and rows, f'{path}: rows', 'a mapping of titles to rows')
    _check_type(amp := declared.get('amp', False), isinstance(amp, bool), f'{path}: amp', 'true or false')
    rows = [_row(title, row, str(path)) for title, row in rows.items()]
    slugs = [row.slug for row in rows]
    for row in rows:
        if not row.slug or slugs.count(row.slug) > 1:
            alike = [other.title for other in rows if other.slug == row.slug]
            raise ValueError(f'{path}: titles of rows must differ in letters or digits, but {alike} do not')
        alike = [other.title for other in rows if other.digest == row.digest]
        if len(alike) > 1:
            raise ValueError(f'{path}: the rows {alike} are the same training (where data lies makes no difference)')
    return Grid(**declared | dict(rows=rows))
