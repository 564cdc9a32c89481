"""Pass labels through a network's logits grid: python tools/analysis_tools/grid_ceiling.py CONFIG."""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.structures import PixelData
from rich.progress import track
from torch import Tensor

from dsrl_mm.apis.compare import quiet, to_markdown
from dsrl_mm.engine.arguments import OptionsAction, positive, run
from dsrl_mm.engine.config import input_channels, read_config
from dsrl_mm.engine.loading import without_pretrained
from dsrl_mm.seg import SSSRHead

__all__ = ['grid_scores', 'head_strides', 'main', 'through_grid']


def through_grid(label: Tensor, grid: Sequence[int], num_classes: int) -> Tensor:
    """Reduce the classes of a label to their shares in the cells of a grid, enlarge these bilinearly, and decide.

    Args:
        label (Tensor): class ids (H, W); pixels of other ids belong to no class.
        grid (Sequence[int]): height and width of the grid.
        num_classes (int): K.

    Returns:
        Tensor: class ids (H, W).
    """
    one_hot = (label == torch.arange(num_classes)[:, None, None]).float()
    shares = F.adaptive_avg_pool2d(one_hot, list(grid))
    return F.interpolate(shares[None], label.shape, mode='bilinear')[0].argmax(0)


@torch.no_grad()
def head_strides(cfg: Config) -> dict[str, tuple[float, float]]:
    """Return the strides, vertical and horizontal, of the logits on the canvas, by the head that computes them.

    The canvas is the config's ``crop_size``. For an SSSR head, the head that it wraps comes first.

    Raises:
        ValueError: if the config has no ``crop_size``.
    """
    if 'crop_size' not in cfg:
        raise ValueError(f'{cfg.filename} has no crop_size: set it to height and width of the canvas')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model, strides = MODELS.build(without_pretrained(cfg.model)).eval(), {}
    head = model.decode_head
    heads = [head.decode_head, head] if isinstance(head, SSSRHead) else [head]
    for each in heads:

        def note(module: Any, _: Any, logits: Tensor) -> None:
            strides[type(module).__name__] = tuple(a / b for a, b in zip(cfg.crop_size, logits.shape[-2:]))

        each.register_forward_hook(note)
    head(model.extract_feat(torch.zeros(1, input_channels(cfg.model.backbone), *cfg.crop_size)))
    return strides


def grid_scores(cfg: Config, strides: dict[str, tuple[float, float]]) -> dict[str, dict[str, float]]:
    """Score the labels of the test set after :func:`through_grid` against themselves.

    Args:
        cfg (Config): with a ``test_dataloader``, whose pipeline loads labels.
        strides (dict[str, tuple[float, float]]): vertical and horizontal strides of the grids, by name.

    Returns:
        dict[str, dict[str, float]]: mIoU, mBF and both of every class in percent, by name.
    """
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    head = cfg.model.decode_head
    ignored = dict(ignore_index=head.get('decode_head', head).get('ignore_index', 255))
    evaluators = {}
    for name in strides:
        evaluators[name] = Evaluator([dict(type='ClassIoUMetric', **ignored), dict(type='BoundaryMetric', **ignored)])
        evaluators[name].dataset_meta = dataset.metainfo
    for i in track(range(len(dataset)), 'Passing labels through grids'):
        sample = dataset[i]['data_samples']
        label = sample.gt_sem_seg.data[0]
        for name, stride in strides.items():
            grid = [max(1, round(side / step)) for side, step in zip(label.shape, stride)]
            made = through_grid(label, grid, len(dataset.metainfo['classes']))
            sample.pred_sem_seg = PixelData(data=made[None])
            evaluators[name].process([sample])
    results = {name: evaluator.evaluate(len(dataset)) for name, evaluator in evaluators.items()}
    return {name: {key: float(value) for key, value in found.items()} for name, found in results.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Score a test set's labels after the logits grid of a network: what the grid costs, before any training.

    The classes are averaged over the cells of the grid and enlarged bilinearly. A class that loses much at the head's
    stride and little at a smaller one can gain by SSSR.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('config', help='of the network and the data')
    parser.add_argument(
        '--strides', type=positive, nargs='+', default=[4], help='other grids, by their stride on the canvas'
    )
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help='KEY=VALUE for the config')
    args = parser.parse_args(argv)
    quiet()
    cfg = read_config(args.config, args.cfg_options)
    strides = head_strides(cfg)
    named = {f'{name}, stride {stride[0]:.4g}': stride for name, stride in strides.items()}
    others = ((float(stride),) * 2 for stride in args.strides)
    named |= {f'stride {other[0]:.4g}': other for other in others if other not in strides.values()}
    scores = grid_scores(cfg, named)
    rows = [key for key in next(iter(scores.values())) if key in ('mIoU', 'mBF') or key.startswith(('IoU.', 'BF.'))]
    print(to_markdown(scores, rows))


if __name__ == '__main__':
    run(main)
