"""Comparison of trained segmentation models: accuracy, cost and predictions."""

import argparse
import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from statistics import median

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from rich.progress import track
from tabulate import tabulate
from torch import nn

from ..engine.arguments import OptionsAction, require_files
from ..engine.complexity import measure_complexity
from ..engine.config import read_config
from ..engine.loading import load_for_inference, read_state_dict, without_pretrained
from ..engine.metrics import with_sr_metric
from ..engine.reader import TrustCheckpoint
from ..engine.task import evaluators
from ..engine.timing import time_in_turn
from .deploy import build_deploy_model
from .inferencer import find_model
from .task import task_of


class Trained:
    """A config and the checkpoint trained with it.

    Args:
        config (str | Path | Config): an MMSegmentation config whose model is a
            :class:`~dsrl_mm.seg.DSRLSegmentor`.
        checkpoint (str | Path): the file.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path):
        self.cfg = config if isinstance(config, Config) else read_config(config)
        self.checkpoint = str(checkpoint)
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))

    @cached_property
    def rebuilds(self) -> bool:
        """Whether the model rebuilds images: it has a SISR branch, and the checkpoint, if not deployed, its weights."""
        branch = self.cfg.model.get('sr_aux') is not None
        return branch and any(name.startswith('sr_aux.head.') for name in read_state_dict(self.checkpoint))

    def model(self, also: tuple[str, ...] = ()) -> nn.Module:
        """Build the whole model in eval mode; it also rebuilds images if the checkpoint allows it.

        Args:
            also (tuple[str, ...]): see :func:`~dsrl_mm.engine.loading.check_complete`.
        """
        cfg = without_pretrained(self.cfg.model)
        cfg.setdefault('test_cfg', ConfigDict()).with_sr = self.rebuilds
        return load_for_inference(MODELS.build(cfg), self.checkpoint, also).to(get_device())

    def deployed(self) -> nn.Module:
        """Build the model as it is deployed: without training-only parts, and for frames if it can read them."""
        return build_deploy_model(self.cfg, self.checkpoint, self.reads_frames).to(get_device())

    @property
    def reads_frames(self) -> bool:
        """Whether the deployed model reads low-resolution frames; others, such as ISDNet, read the canvas."""
        return task_of(self.cfg).reads_frames(self.cfg)


def evaluate(trained: Trained, name: str = 'the model', metrics: Sequence[dict] | None = None) -> dict[str, float]:
    """Test a model on its config's test set.

    Args:
        trained (Trained): the model.
        name (str): to print.
        metrics (Sequence[dict], optional): configs of metrics. Defaults to None: the config's test evaluator.

    Returns:
        dict[str, float]: the metrics' results, such as mIoU and every class (percent); if the model rebuilds images,
        also PSNR (dB) and SSIM of these, and both of the network input enlarged bilinearly.
    """
    model = trained.model()
    loader = Runner.build_dataloader(trained.cfg.test_dataloader)
    metrics = [*(evaluators(trained.cfg).values() if metrics is None else metrics)]
    if trained.rebuilds:
        metrics = with_sr_metric(metrics, model.scale_factor)
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = loader.dataset.metainfo
    with torch.no_grad():
        for batch in track(loader, f'Testing {name}'):
            evaluator.process(model.test_step(batch), batch)
    return {key: float(value) for key, value in evaluator.evaluate(len(loader.dataset)).items()}


@torch.no_grad()
def latencies(
    models: dict[str, nn.Module], shapes: dict[str, tuple[int, int, int]], repeats: int = 50
) -> dict[str, float]:
    """Measure the median latency of models in milliseconds, interleaved so that other load affects all alike.

    Args:
        models (dict[str, nn.Module]): in eval mode, on one device.
        shapes (dict[str, tuple[int, int, int]]): channels, height and width of each model's input.
        repeats (int): timed calls of each. Defaults to 50.
    """
    calls = {
        name: partial(model, torch.rand(1, *shapes[name], device=get_device()), mode='tensor')
        for name, model in models.items()
    }
    return {name: 1000 * median(seconds) for name, seconds in time_in_turn(calls, repeats, warmup=2).items()}


class _AppendModel(argparse.Action):
    """Appends a model of a config and a checkpoint, or of what stands for both.

    Its name must be new: results and files go by it.
    """

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list[str], *_) -> None:
        models = getattr(namespace, self.dest) or []
        if not 2 <= len(values) <= 3:
            parser.error(f'--model takes a name, a model and, if that is a config, its checkpoint; not {values}')
        name, model, *checkpoint = values
        if name in [other for other, *_ in models]:
            parser.error(f'--model: two models have the name {name!r}; give each a name of its own')
        try:
            found = (model, *checkpoint, {}) if checkpoint else find_model(model)
        except (FileNotFoundError, ValueError) as error:
            parser.error(f'--model {name}: {error}')
        require_files(parser, *found[:2])
        setattr(namespace, self.dest, [*models, (name, *found)])


def add_models(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Add the options that name models to a command, for :func:`read_models`; ``required`` asks for at least one."""
    parser.add_argument(
        '--model',
        nargs='+',
        action=_AppendModel,
        required=required,
        metavar=('NAME MODEL', 'CHECKPOINT'),
        help='once for each: MODEL is a config, with its checkpoint, or a name in the model zoo',
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help='KEY=VALUE for every config')
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)


def read_models(args: argparse.Namespace) -> dict[str, Trained]:
    """Return the models that a command names, by name."""
    return {
        name: Trained(read_config(config, options | args.cfg_options), file)
        for name, config, file, options in args.model or []
    }


def quiet() -> None:
    """Silence MMEngine's log of configs and metrics, which the comparison's table repeats."""
    MMLogger.get_instance('compare', log_level='ERROR')


def compare_models(
    entries: dict[str, Trained], out_dir: str | Path, pictures: int = 3
) -> dict[str, dict[str, float | str]]:
    """Test models, measure their cost at the size of their test images, and draw their predictions.

    Args:
        entries (dict[str, Trained]): models by name. Each is tested on its own config's test set.
        out_dir (str | Path): folder for ``comparison.md``, ``comparison.json`` and ``comparison.png``.
        pictures (int): number of test images to draw, evenly spaced. Defaults to 3.

    Returns:
        dict[str, dict[str, float | str]]: by name: ``mIoU`` and ``IoU.CLASS`` (percent), ``input size`` (height and
        width of the network input in pixels, such as '180x240'), ``parameters (M)``, ``GFLOPs`` (a multiply-add counts
        as 2), ``GMACs`` (as 1), ``latency (ms)`` of one image, ``sr/PSNR`` (dB), ``sr/SSIM``, and both of the enlarged
        network input (``sr/PSNR_enlarged``, ``sr/SSIM_enlarged``).
    """
    from .figures import Sampled, draw_comparison  # Matplotlib would take a tenth of the start of other commands

    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    table, deployed, shapes = {}, {}, {}
    for name, trained in entries.items():
        deployed[name] = model = trained.deployed()
        table[name] = {key: value for key, value in evaluate(trained, name).items() if key not in ('aAcc', 'mAcc')}
        channels, *canvas = DATASETS.build(trained.cfg.test_dataloader.dataset)[0]['inputs'].shape
        factor = model.scale_factor if trained.reads_frames else 1
        shapes[name] = channels, *(-(-side // factor) for side in canvas)
    for name, milliseconds in latencies(deployed, shapes).items():
        channels, *size = shapes[name]
        cost = measure_complexity(deployed[name], size, channels)
        table[name] |= {
            'input size': '{}x{}'.format(*size),
            'parameters (M)': cost.params / 1e6,
            'GFLOPs': cost.flops / 1e9,
            'GMACs': cost.macs / 1e9,
            'latency (ms)': milliseconds,
        }
    (out_dir / 'comparison.json').write_text(json.dumps(table, indent=1))
    (out_dir / 'comparison.md').write_text(to_markdown(table))
    figure = draw_comparison([Sampled(*entry) for entry in entries.items()], pictures)
    figure.savefig(out_dir / 'comparison.png', dpi=180, bbox_inches='tight')
    return table


def to_markdown(table: dict[str, dict[str, float | str]], rows: Sequence[str] | None = None) -> str:
    """Write a table with a column per model.

    Args:
        table (dict[str, dict[str, float | str]]): from :func:`compare_models`.
        rows (Sequence[str], optional): the quantities to keep, in order. Defaults to None: all.
    """
    if rows is None:
        rows = list(dict.fromkeys(row for values in table.values() for row in values))
    cells = [[row, *(_cell(values.get(row)) for values in table.values())] for row in rows]
    alignment = ['left', *['right' for _ in table]]
    return tabulate(cells, ['', *table], 'pipe', colalign=alignment, disable_numparse=True) + '\n'


def _cell(value: float | str | None) -> str:
    return '-' if value is None else f'{value:.2f}' if isinstance(value, float) else value
