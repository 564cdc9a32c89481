"""Several trained models side by side: one table of accuracy and cost, one picture."""

import argparse
import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from statistics import median

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from rich.progress import track
from tabulate import tabulate
from torch import nn

from ..engine.complexity import measure_complexity
from ..engine.config import input_channels
from ..engine.loading import load_for_inference, read_state_dict, without_pretrained
from .deploy import build_deploy_model
from .pictures import draw

__all__ = ['Trained', 'compare', 'evaluate', 'latencies', 'main', 'quiet', 'to_markdown']


class Trained:
    """A config and the checkpoint trained with it.

    Args:
        config (str | Path | Config): an MMSegmentation config whose model is a
            :class:`~dsrl_mm.seg.DSRLSegmentor`.
        checkpoint (str | Path): the file.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path):
        self.cfg = config if isinstance(config, Config) else Config.fromfile(config)
        self.checkpoint = str(checkpoint)
        init_default_scope(self.cfg.get('default_scope', 'mmseg'))

    @cached_property
    def rebuilds(self) -> bool:
        """Whether there is a SISR branch, and trained: deployed checkpoints are without."""
        branch = self.cfg.model.get('sr_aux') is not None
        return branch and any(name.startswith('sr_aux.head.') for name in read_state_dict(self.checkpoint))

    def model(self, also: tuple[str, ...] = ()) -> nn.Module:
        """The whole model in eval mode, which also rebuilds images where the checkpoint holds what that takes.

        Args:
            also (tuple[str, ...]): see :func:`~dsrl_mm.engine.loading.check_complete`.
        """
        cfg = without_pretrained(self.cfg.model)
        cfg.setdefault('test_cfg', ConfigDict()).with_sr = self.rebuilds
        return load_for_inference(MODELS.build(cfg), self.checkpoint, also).to(get_device())

    def deployed(self) -> nn.Module:
        """The model as it is shipped: it reads LR frames, and has no training-only parts."""
        return build_deploy_model(self.cfg, self.checkpoint, low_res_input=True).to(get_device())


def evaluate(trained: Trained, name: str = 'the model', metrics: Sequence[dict] | None = None) -> dict[str, float]:
    """Test a model on its config's test set.

    Args:
        trained (Trained): the model.
        name (str): to print.
        metrics (Sequence[dict], optional): configs of what to measure. Defaults to None: the config's test evaluator.

    Returns:
        dict[str, float]: what the metrics give, such as mIoU and every class (percent); PSNR (dB) and SSIM where the
        model rebuilds images, beside those of what the network reads, enlarged bilinearly.
    """
    model = trained.model()
    loader = Runner.build_dataloader(trained.cfg.test_dataloader)
    if metrics is None:
        metrics = trained.cfg.test_evaluator
    metrics = [*(metrics if isinstance(metrics, (list, tuple)) else [metrics])]
    if trained.rebuilds:
        metrics.append(dict(type='SRMetric', scale_factor=trained.cfg.model.get('scale_factor', 2)))
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = loader.dataset.metainfo
    with torch.no_grad():
        for batch in track(loader, f'Testing {name}'):
            evaluator.process(model.test_step(batch), batch)
    return {key: float(value) for key, value in evaluator.evaluate(len(loader.dataset)).items()}


def latencies(
    models: dict[str, nn.Module], shapes: dict[str, tuple[int, int, int]], repeats: int = 50
) -> dict[str, float]:
    """Median milliseconds per image of models that take turns, so that a busy machine slows all of them alike.

    Args:
        models (dict[str, nn.Module]): in eval mode, on one device.
        shapes (dict[str, tuple[int, int, int]]): channels, and height and width in pixels, of what each reads.
        repeats (int): turns of each. Defaults to 50.
    """
    images = {name: torch.rand(1, *shapes[name], device=get_device()) for name in models}
    times = {name: [] for name in models}
    with torch.no_grad():
        for turn in range(repeats + 2):
            for name, model in models.items():
                start = time.perf_counter()
                model(images[name], mode='tensor')
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if turn >= 2:  # the first turns warm up
                    times[name].append(time.perf_counter() - start)
    return {name: 1000 * median(values) for name, values in times.items()}


def quiet() -> None:
    """Leave out what MMEngine logs of configs and metrics from now on: the comparison's table says it."""
    MMLogger.get_instance('compare', log_level='ERROR')


def _lr_size(trained: Trained) -> tuple[int, int]:
    """Height and width of the network's input, from the first test image."""
    _, height, width = DATASETS.build(trained.cfg.test_dataloader.dataset)[0]['inputs'].shape
    factor = trained.cfg.model.get('scale_factor', 2)
    return -(-height // factor), -(-width // factor)


def compare(entries: dict[str, Trained], out_dir: str | Path, pictures: int = 3) -> dict[str, dict[str, float | str]]:
    """Test models, measure what they cost on what each of them reads of a test image, and draw their predictions.

    Args:
        entries (dict[str, Trained]): by the name to print. All are tested on their own config's test set.
        out_dir (str | Path): gets ``comparison.md``, ``comparison.json`` and ``comparison.png``.
        pictures (int): rows of the picture; images evenly spaced over the test set, not chosen. Defaults to 3.

    Returns:
        dict[str, dict[str, float | str]]: by name: ``mIoU`` and ``IoU.CLASS`` (percent), ``network reads`` (height and
        width in pixels, such as '180x240'), ``parameters (M)``, ``GFLOPs`` (a multiply-add counts as 2), ``GMACs``
        (as 1), ``ms/image``, ``sr/PSNR`` (dB), ``sr/SSIM``, and both of what the network reads, enlarged
        (``sr/PSNR_enlarged``, ``sr/SSIM_enlarged``).
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    table = {}
    for name, trained in entries.items():
        table[name] = {key: value for key, value in evaluate(trained, name).items() if key not in ('aAcc', 'mAcc')}
    shapes = {
        name: (input_channels(trained.cfg.model.backbone), *_lr_size(trained)) for name, trained in entries.items()
    }
    deployed = {name: trained.deployed() for name, trained in entries.items()}
    for name, milliseconds in latencies(deployed, shapes).items():
        channels, *size = shapes[name]
        cost = measure_complexity(deployed[name], size, channels)
        table[name] |= {
            'network reads': '{}x{}'.format(*size),
            'parameters (M)': cost.params / 1e6,
            'GFLOPs': cost.flops / 1e9,
            'GMACs': cost.macs / 1e9,
            'ms/image': milliseconds,
        }
    (out_dir / 'comparison.json').write_text(json.dumps(table, indent=1))
    (out_dir / 'comparison.md').write_text(to_markdown(table))
    draw(entries, pictures).savefig(out_dir / 'comparison.png', dpi=120, bbox_inches='tight')
    return table


def to_markdown(table: dict[str, dict[str, float | str]], rows: Sequence[str] | None = None) -> str:
    """A table with a column per model.

    Args:
        table (dict[str, dict[str, float | str]]): from :func:`compare`.
        rows (Sequence[str], optional): the quantities to keep, in order. Defaults to None: all.
    """
    if rows is None:
        rows = list(dict.fromkeys(row for values in table.values() for row in values))
    cells = [[row, *(values.get(row) for values in table.values())] for row in rows]
    return tabulate(cells, ['', *table], 'pipe', floatfmt='.2f', missingval='-') + '\n'


def main(argv: Sequence[str] | None = None) -> None:
    """Compare trained models: one table of accuracy and cost, one picture."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        '--model',
        nargs=3,
        action='append',
        required=True,
        metavar=('NAME', 'CONFIG', 'CHECKPOINT'),
        help='once for each model',
    )
    parser.add_argument('--out', default='work_dirs/comparison', help='folder for the table and the picture')
    parser.add_argument('--pictures', type=int, default=3, help='rows of the picture')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='KEY=VALUE for every config')
    args = parser.parse_args(argv)
    quiet()
    entries = {}
    for name, config, checkpoint in args.model:
        cfg = Config.fromfile(config)
        cfg.merge_from_dict(args.cfg_options)
        entries[name] = Trained(cfg, checkpoint)
    print('\n' + to_markdown(compare(entries, args.out, args.pictures)))
    print(f'Written to {args.out}')
