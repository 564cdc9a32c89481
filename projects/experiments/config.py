"""Composed configs of rows, which are trained, recorded and compared with current ones."""

import copy
from pathlib import Path
from pprint import pformat
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config

from dsrl_mm.cli import use_amp
from dsrl_mm.engine.config import RUNNER_KEYS, evaluate, flat, nearest
from dsrl_mm.engine.task import evaluators

from .grid import Row

__all__ = ['ROOT', 'compose', 'differences', 'new_options', 'read_text', 'to_text']

#: The repository, in which rows name their configs.
ROOT = Path(__file__).parents[2]
#: The keys of a config that a training depends on. All other names serve the file itself; every run is tested by the
#: same metrics, and validated only for its curve.
READ = RUNNER_KEYS - {
    *('work_dir', 'experiment_name', 'visualizer', 'log_level', 'log_processor', 'data_preprocessor'),
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
            names = flat({name: cfg[name] for name in cfg.keys() & READ})
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
    names = flat(_read(row).to_dict())
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


def differences(recorded: Config, today: Config) -> list[str]:
    """Describe the differences of two configs that affect training."""
    then, now = (flat({key: cfg[key] for key in cfg.keys() & READ}) for cfg in (recorded, today))
    told = ((key, *(repr(side[key]) if key in side else 'absent' for side in (then, now))) for key in {**then, **now})
    return sorted(f'{key}: {old}, today {new}' for key, old, new in told if old != new)
