"""Interface between the commands and a task."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import Registry
from torch import nn

from .config import builds

__all__ = ['Task', 'evaluators', 'hooks', 'prediction_writer', 'visualization_hook']


class Task(ABC):
    """Base of a task's part of the commands, chosen by ``default_scope`` in :func:`~dsrl_mm.apis.task_of`.

    ``check_data``, ``network_input`` and ``deploy_config`` leave the config as it is; the others change it in place.
    """

    @abstractmethod
    def check_data(self, cfg: Config, phases: tuple[str, ...]) -> None:
        """Check the config and its data before a run starts.

        Args:
            cfg (Config): the whole config.
            phases (tuple[str, ...]): of 'train', 'val', 'test'; a phase without a data loader is skipped.
        """

    @abstractmethod
    def check_batch(self, cfg: Config, phase: str, model: nn.Module | None, batch: Any) -> None:
        """Check the first batch of a data loader.

        Args:
            cfg (Config): the whole config.
            phase (str): 'train', 'val' or 'test'.
            model (nn.Module, optional): None in a test.
            batch (Any): as the loader gives it.
        """

    @abstractmethod
    def network_input(self, cfg: Config) -> tuple[int, int, int]:
        """Return channels, height and width of the network input."""

    @abstractmethod
    def reads_frames(self, cfg: Config) -> bool:
        """Return whether the deployed model can read low-resolution frames instead of canvases."""

    @abstractmethod
    def draw_predictions(self, cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
        """Draw every test image with its prediction (``--show``, ``--show-dir``, ``--wait-time``).

        Args:
            cfg (Config): the whole config.
            show (bool): whether to show the pictures in a window.
            show_dir (str, optional): folder to save them in.
            wait_time (float): seconds a picture is shown.
        """

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
    def deploy_config(self, cfg: Config, low_res_input: bool) -> Config:
        """Copy a config without the training-only parts of its model.

        Args:
            cfg (Config): of a trained model.
            low_res_input (bool): whether the deployed model reads low-resolution frames instead of canvases.
        """

    @abstractmethod
    def use_bfloat16(self, cfg: Config) -> None:
        """Train in bfloat16 (``--amp`` on CPUs): leave out what cannot be computed in it."""


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
    return (
        {f'{key}.{i}': metric for i, metric in enumerate(found)} if isinstance(found, (list, tuple)) else {key: found}
    )


def hooks(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Find the config's hooks, with their keys."""
    for key in ('default_hooks', 'custom_hooks'):
        found = cfg.get(key) or {}
        for name, hook in found.items() if isinstance(found, dict) else enumerate(found):
            if isinstance(hook, dict):
                yield f'{key}.{name}', hook


def prediction_writer(cfg: Config, registry: Registry, metric: type, what: str) -> ConfigDict:
    """Return the test metric that can write predictions to files.

    Args:
        cfg (Config): the whole config.
        registry (Registry): registry of the task's metrics.
        metric (type): class of the metric, or a base of it.
        what (str): the kind of predictions, for the message.

    Raises:
        ValueError: if the config has none.
    """
    for evaluator in evaluators(cfg).values():
        if builds(evaluator, registry, metric):
            return evaluator
    name = metric.__name__
    raise ValueError(f'--out: a {name} writes the {what}, and test_evaluator has none. Add dict(type="{name}")')
