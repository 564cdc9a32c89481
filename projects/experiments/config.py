"""Composed configs of rows, which are trained, recorded and compared with current ones."""

import ast
import copy
from pathlib import Path
from pprint import pformat
from typing import Any

from mmengine.config import Config

from dsrl_mm.cli import use_amp
from dsrl_mm.engine.config import RUNNER_KEYS, check_options, evaluate, flat
from dsrl_mm.engine.task import evaluators

from .grid import Row

#: The repository, in which rows name their configs.
ROOT = Path(__file__).parents[2]
#: The keys of a config that a training depends on. All other names serve the file itself; every run is tested by the
#: same metrics, and validated only for its curve.
READ = RUNNER_KEYS - {
    *('work_dir', 'experiment_name', 'visualizer', 'log_level', 'log_processor', 'data_preprocessor'),
    *('test_evaluator', 'val_dataloader', 'val_evaluator', 'val_cfg', 'test_cfg'),
}


def compose(row: Row, amp: bool) -> str:
    """Compose the config of a row, without the seed, as the text of a file.

    Environment variables stay as they are written, so that it is the same on every machine.

    Raises:
        ValueError: if nothing reads an option, or an expression cannot be evaluated.
    """
    cfg = Config.fromfile(ROOT / row.config, use_environment_variables=False)
    cfg.merge_from_dict(copy.deepcopy(row.options))
    check_options(cfg, row.options)
    evaluate(cfg)
    if amp:
        use_amp(cfg)
    ignored = {
        key: value for metric in evaluators(cfg).values() for key, value in metric.items() if key == 'ignore_index'
    }
    cfg.test_evaluator = [dict(type='ClassIoUMetric', **ignored), dict(type='BoundaryMetric', **ignored)]
    return ''.join(f'{key} = {pformat(value, width=116, compact=True)}\n' for key, value in cfg.to_dict().items())


def read_text(text: str) -> dict[str, Any]:
    """Read the values of a composed config, without importing what it names."""
    return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(text).body}


def differences(then: str, today: str) -> list[str]:
    """Describe the differences of two composed configs that affect training."""
    old, new = (flat({key: cfg[key] for key in cfg.keys() & READ}) for cfg in map(read_text, (then, today)))
    told = ((key, *(repr(side[key]) if key in side else 'absent' for side in (old, new))) for key in {**old, **new})
    return sorted(f'{key}: {before}, today {now}' for key, before, now in told if before != now)
