"""Composed configs of rows, which are trained, recorded and compared with current ones."""

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from pprint import pformat
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from dsrl_mm.cli import use_amp
from dsrl_mm.engine.config import evaluate
from dsrl_mm.engine.task import evaluators

from .grid import Row, nearest

__all__ = ['ROOT', 'compose', 'differences', 'new_options', 'read_text', 'to_text']

#: The repository, in which rows name their configs.
ROOT = Path(__file__).parents[2]
#: The keys of a config that a training depends on. All other names serve the file itself; every run is tested by the
#: same metrics, and validated only for its curve.
READ = {'custom_imports'} | inspect.signature(Runner.__init__).parameters.keys() - {
    *('self', 'cfg', 'work_dir', 'experiment_name', 'visualizer', 'log_level', 'log_processor', 'data_preprocessor'),
    *('test_evaluator', 'val_dataloader', 'val_evaluator', 'val_cfg', 'test_cfg'),
}


def compose(row: Row, amp: bool) -> Config:
    """Compose the config of a row, without the seed.

    Environment variables stay as they are written, so that it is the same on every machine.

    Raises:
        ValueError: if an option sets nothing that a training reads, or an expression cannot be evaluated.
    """
    base = _read(row)
    cfg = _merge(base, row.options)
    for key in row.options:
        others = {other: value for other, value in row.options.items() if other != key}
        try:
            without = _merge(base, others)
        except ValueError:  # an expression needs the option
            continue
        if not differences(without, cfg):
            names = _flat({name: cfg[name] for name in cfg.keys() & READ})
            raise ValueError(f'the option {key} changes nothing that a training reads, such as {nearest(key, names)}')
    if amp:
        use_amp(cfg)
    ignored = {key: value for metric in evaluators(cfg) for key, value in metric.items() if key == 'ignore_index'}
    cfg.test_evaluator = [dict(type='ClassIoUMetric', **ignored), dict(type='BoundaryMetric', **ignored)]
    return cfg


def new_options(row: Row) -> list[str]:
    """Name the options that have no value in the config itself, each with the nearest name that has one."""
    if not (ROOT / row.config).exists():
        return []
    names = _flat(_read(row).to_dict())
    new = (key for key in row.options if not any(f'{name}.'.startswith(f'{key}.') for name in names))
    return [f'{key}; the nearest name that it has is {nearest(key, names)}' for key in new]


def _read(row: Row) -> Config:
    return Config.fromfile(ROOT / row.config, use_environment_variables=False)


def _merge(base: Config, options: dict[str, Any]) -> Config:
    cfg = copy.deepcopy(base)
    cfg.merge_from_dict(copy.deepcopy(options))
    return evaluate(cfg)


def to_text(cfg: Config) -> str:
    """Write a config as a file that MMEngine reads, more compactly than MMEngine does."""
    return ''.join(f'{key} = {pformat(value, width=116, compact=True)}\n' for key, value in cfg.to_dict().items())


def read_text(text: str, here: bool = False) -> Config:
    """Read the text that :func:`to_text` wrote.

    Args:
        text (str): of the config.
        here (bool): whether to import what it names, and to replace environment variables. Defaults to False.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder, 'config.py')
        file.write_text(text, encoding='utf-8')
        return Config.fromfile(file, import_custom_modules=here, use_environment_variables=here)


def _flat(value: Any, name: str = '') -> dict[str, Any]:
    """Flatten nested mappings, and lists of them, to values by dotted keys."""
    if isinstance(value, (list, tuple)) and any(isinstance(entry, Mapping) for entry in value):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return {name: [*value] if isinstance(value, (list, tuple)) else value}
    return {leaf: inner for key in value for leaf, inner in _flat(value[key], f'{name}.{key}'.strip('.')).items()}


def differences(recorded: Config, today: Config) -> list[str]:
    """Describe the differences of two configs that affect training."""
    then, now = (_flat({key: cfg[key] for key in cfg.keys() & READ}) for cfg in (recorded, today))
    told = ((key, *(repr(flat[key]) if key in flat else 'absent' for flat in (then, now))) for key in {**then, **now})
    return sorted(f'{key}: {old}, today {new}' for key, old, new in told if old != new)
