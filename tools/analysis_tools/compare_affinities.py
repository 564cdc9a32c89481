"""Measure how well the affinities of SSSR and SISR features predict which pixels share a class.

The affinity loss pulls the affinities of the segmentation features towards those of its guide. If the guide's predict
the classes less well, there is nothing to gain.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean

import torch
import torch.nn.functional as F
from mmengine.runner import Runner
from rich.progress import track
from tabulate import tabulate
from torch import Tensor

from dsrl_mm.apis.compare import Trained, quiet
from dsrl_mm.core.fa_loss import common_positions
from dsrl_mm.engine.arguments import positive, run
from dsrl_mm.engine.config import read_config

__all__ = ['agreement', 'main']


def agreement(feat: Tensor, label: Tensor, near: int | None = None) -> float:
    """Compute the correlation of the cosine of two positions with whether they share a class, over pairs of positions.

    Args:
        feat (Tensor): features of one image, (C, H, W).
        label (Tensor): class ids, (H, W); positions below 0 are ignored.
        near (int, optional): maximum distance of a pair's positions along each axis. Defaults to None: all pairs.

    Returns:
        float: 1 if affinities equal those of the labels, 0 if they are unrelated; NaN if all pairs have one class.
    """
    rows, columns = (label >= 0).nonzero(as_tuple=True)
    directions = F.normalize(feat[:, rows, columns].float(), dim=0)
    classes = label[rows, columns]
    apart = torch.maximum((rows[:, None] - rows).abs(), (columns[:, None] - columns).abs())
    pairs = (apart > 0) & (apart <= (max(label.shape) if near is None else near))
    found = torch.stack([(directions.T @ directions)[pairs], (classes[:, None] == classes)[pairs].float()])
    return torch.corrcoef(found)[0, 1].item()


def _features(model: torch.nn.Module, batch: dict) -> tuple[dict[str, Tensor], Tensor]:
    """Return the features of one image that FA could compare, by name, and the labels on their grid."""
    data = model.data_preprocessor(batch, False)
    shared = model.run_backbone(data['inputs'])
    _, hidden, logits = model.decode_head.parts(model.run_neck(shared))
    transformed, guide = model.sr_aux.compared((hidden, logits), model.sr_aux.head(shared.feats))
    seg, guide, _ = common_positions(hidden, guide, model.sr_aux.fa.subsample, 'pool')
    transformed, _, _ = common_positions(transformed, guide, 1, 'pool')
    grid = seg.shape[-2:]
    image = F.adaptive_avg_pool2d(data['inputs'], grid)
    label = data['data_samples'][0].gt_sem_seg.data.float()[None]
    label = F.interpolate(label, grid, mode='nearest-exact')[0, 0].long()
    ignored = label == model.decode_head.ignore_index
    found = {'SSSR features': seg, 'SSSR features, transformed': transformed, 'SISR features': guide, 'image': image}
    return {name: feat[0] for name, feat in found.items()}, label.masked_fill(ignored, -1)


def main(argv: Sequence[str] | None = None) -> None:
    """Print how well the affinities of both branches, and of the image, tell which pixels share a class."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('config', help='config file of a model with an affinity loss')
    parser.add_argument('checkpoint', help='of its training')
    parser.add_argument('--near', type=positive, default=4, help='the farthest that positions of a near pair are apart')
    parser.add_argument('--every', type=positive, default=10, help='take every so many-th test image')
    args = parser.parse_args(argv)
    quiet()
    trained = Trained(read_config(args.config), args.checkpoint)
    sr_aux = trained.cfg.model.get('sr_aux') or {}
    if not sr_aux.get('fa') or sr_aux.get('fa_on', 'features') != 'features':
        parser.error(f'{args.config} has no affinity loss between features (model.sr_aux.fa, fa_on)')
    model = trained.model(also=('sr_aux.',))
    dataset = Runner.build_dataloader(trained.cfg.test_dataloader).dataset
    found = defaultdict(list)
    with torch.no_grad():
        for index in track(range(0, len(dataset), args.every), 'Comparing'):
            sample = dataset[index]
            batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
            feats, label = _features(model, batch)
            for name, feat in feats.items():
                centered = feat - feat.mean((1, 2), keepdim=True)
                for kind, one in ((name, feat), (f'{name}, centered', centered)):
                    found[kind].append((agreement(one, label), agreement(one, label, args.near)))
    rows = [[kind, *(mean(v for v in column if v == v) for column in zip(*values))] for kind, values in found.items()]
    print(tabulate(rows, ['', 'all pairs', f'up to {args.near} apart'], 'pipe', floatfmt='.3f'))


if __name__ == '__main__':
    run(main)
