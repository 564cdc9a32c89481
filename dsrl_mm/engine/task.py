"""Interface between the commands and a task."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry
from torch import nn

from .config import builds


class Task(ABC):
    """Base of a task's part of the commands, chosen by ``default_scope`` in :func:`~dsrl_mm.apis.task_of`.

    ``cfg`` is the whole config. Options of the commands, which methods named ``draw_``, ``keep_`` and ``use_`` apply,
    change it in place; the other methods leave it as it is. A phase is 'train', 'val' or 'test'.
    """

    @abstractmethod
    def check_data(self, cfg: Config, phases: tuple[str, ...]) -> None:
        """Check the config and its data before a run starts; a phase without a data loader is skipped."""

    @abstractmethod
    def check_batch(self, cfg: Config, phase: str, model: nn.Module | None, batch: Any) -> None:
        """Check the first batch of a data loader; ``model`` is None in a test."""

    @abstractmethod
    def network_input(self, cfg: Config) -> tuple[int, int, int]:
        """Return channels, height and width of the network input."""

    @abstractmethod
    def reduction(self, cfg: Config) -> int:
        """Return the side of the canvas over that of the network input."""

    @abstractmethod
    def reads_frames(self, cfg: Config) -> bool:
        """Return whether the deployed model can read low-resolution frames instead of canvases."""

    @abstractmethod
    def draw_predictions(self, cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
        """Draw every test image with its prediction, in a window for ``wait_time`` seconds or to files in a folder."""

    @abstractmethod
    def keep_predictions(self, cfg: Config, out_dir: str) -> None:
        """Write predictions to files in ``out_dir`` (``--out``)."""

    @abstractmethod
    def use_tta(self, cfg: Config) -> None:
        """Test with test-time augmentation (``--tta``)."""

    @abstractmethod
    def use_sr_metrics(self, cfg: Config) -> None:
        """Measure the rebuilt images, too (``--sr-metrics``)."""

    @abstractmethod
    def use_bfloat16(self, cfg: Config) -> None:
        """Train in bfloat16 (``--amp`` on CPUs): leave out what cannot be computed in it."""

    @abstractmethod
    def deploy_config(self, cfg: Config, low_res_input: bool) -> Config:
        """Copy a trained model's config without training-only parts, to read canvases or low-resolution frames."""


def visualization_hook(cfg: Config, type_: str) -> ConfigDict:
    """Return the hook that draws predictions.

    Raises:
        ValueError: if the config has none. The message asks for ``type_``.
    """
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise ValueError(
            f'--show and --show-dir need default_hooks.visualization in the config: visualization=dict(type="{type_}")'
        )
    return hook


def evaluators(cfg: Config, phase: str = 'test') -> dict[str, dict]:
    """Return the config's metrics of 'val' or 'test', by their keys."""
    key, found = f'{phase}_evaluator', cfg.get(f'{phase}_evaluator') or []
    if 'metrics' in found:  # of an Evaluator
        key, found = f'{key}.metrics', found['metrics']
    if isinstance(found, (list, tuple)):
        return {f'{key}.{i}': metric for i, metric in enumerate(found)}
    return {key: found}


def hooks(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Find the config's hooks, with their keys."""
    for key in ('default_hooks', 'custom_hooks'):
        found = cfg.get(key) or {}
        for name, hook in found.items() if isinstance(found, dict) else enumerate(found):
            if isinstance(hook, dict):
                yield f'{key}.{name}', hook


def prediction_writer(cfg: Config, registry: Registry, metric: type, what: str) -> ConfigDict:
    """Return the test metric that can write predictions to files: a ``metric`` of the ``registry``, or a subclass.

    Raises:
        ValueError: if the config has none; ``what`` names the kind of predictions in the message.
    """
    for evaluator in evaluators(cfg).values():
        if builds(evaluator, registry, metric):
            return evaluator
    name = metric.__name__
    raise ValueError(f'--out: a {name} writes the {what}, and test_evaluator has none. Add dict(type="{name}")')
