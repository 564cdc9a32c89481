"""Bootstrap the gain of a model: python tools/analysis_tools/bootstrap.py CONFIG MASKS --over MASKS."""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, init_default_scope
from PIL import Image
from rich.progress import track

from dsrl_mm.apis.compare import quiet, to_markdown
from dsrl_mm.engine.arguments import OptionsAction, positive, run
from dsrl_mm.engine.config import read_config
from dsrl_mm.engine.task import evaluators
from dsrl_mm.seg.metrics import BoundaryMetric
from dsrl_mm.seg.metrics.boundary import boundary_counts, boundary_scores
from dsrl_mm.seg.task import image_root

__all__ = ['intervals', 'main', 'scores']


def _counts(mask: np.ndarray, truth: np.ndarray, classes: int, ignore_index: int) -> np.ndarray:
    """Count the pixels of one image for all scores: intersection and union of every class, and its boundary's six."""
    labeled = truth != ignore_index
    ids = np.arange(classes)[:, None]
    predicted, true = mask[labeled] == ids, truth[labeled] == ids
    areas = np.stack([(predicted & true).sum(1), (predicted | true).sum(1)], 1)
    tolerance = BoundaryMetric().tolerance * np.hypot(*truth.shape)
    return np.concatenate([areas, boundary_counts(mask, truth, classes, tolerance, ignore_index)], 1)


def _all_counts(dataset: BaseDataset, images: str | None, folder: Path, ignore_index: int) -> np.ndarray:
    """Count the pixels of all images of a folder, whose masks are in another, by the same names: (N, K, 8)."""
    counts = []
    for sample in track(dataset, f'Counting {folder}'):
        sample = sample['data_samples']
        truth = sample.gt_sem_seg.data[0].numpy()
        # As the writer of masks names them.
        name = os.path.relpath(sample.img_path, images) if images else os.path.basename(sample.img_path)
        file = folder / Path(name).with_suffix('.png')
        if not file.exists():
            raise FileNotFoundError(f'{file} is missing. Write the masks of this data set: tools/test.py ... --out DIR')
        mask = np.asarray(Image.open(file)).astype(int) - bool(sample.get('reduce_zero_label', False))
        if mask.shape != truth.shape:
            raise ValueError(f'{file} is {mask.shape[1]}x{mask.shape[0]}, its label {truth.shape[1]}x{truth.shape[0]}')
        counts.append(_counts(mask, truth, len(dataset.metainfo['classes']), ignore_index))
    return np.stack(counts)


def scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Compute ``mIoU`` and ``mBF`` in percent (...) from sums of counts (..., K, 8)."""
    with np.errstate(invalid='ignore'):  # 0 / 0 is NaN: a class that is nowhere
        iou = counts[..., 0] / counts[..., 1]
    return {'mIoU': 100 * np.nanmean(iou, -1), 'mBF': 100 * np.nanmean(boundary_scores(counts[..., 2:])['BF'], -1)}


def intervals(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], block: int, draws: int = 10_000
) -> dict[str, tuple[float, float, float]]:
    """Estimate gains with the 95 % percentile intervals of a bootstrap over blocks of consecutive images.

    Neighboring frames of a video are alike, so images are not drawn one by one (Künsch, "The Jackknife and the
    Bootstrap for General Stationary Observations", 1989; here with blocks that do not overlap).

    Args:
        first (Sequence[np.ndarray]): counts of each run of one model, (N, K, 8).
        second (Sequence[np.ndarray]): of another, on the same images.
        block (int): images in a block; the last one may have fewer.
        draws (int): samples of the bootstrap. Defaults to 10,000.

    Returns:
        dict[str, tuple[float, float, float]]: the gain of the first over the second, the mean over runs, and the ends
        of its interval, in points of percent, by score.
    """
    starts = range(0, len(first[0]), block)
    drawn = np.random.default_rng(0).multinomial(len(starts), np.full(len(starts), 1 / len(starts)), draws)
    weights = np.concatenate([np.ones((1, len(starts)), int), drawn])  # the first line is the data set itself
    means = []
    for runs in (first, second):
        sums = (np.tensordot(weights, np.add.reduceat(run, starts), 1) for run in runs)
        each = [scores(total) for total in sums]
        means.append({name: np.mean([run[name] for run in each], 0) for name in each[0]})
    gains = {name: means[0][name] - means[1][name] for name in means[0]}
    return {name: (values[0], *np.percentile(values[1:], [2.5, 97.5])) for name, values in gains.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the gain in mIoU and mBF of one model over another, with intervals for another choice of images.

    Masks are those that `tools/test.py --out DIR` writes for the config's test set. Several folders are several seeds.
    """
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('config', help='of the data')
    parser.add_argument('masks', type=Path, nargs='+', help='folders of one model')
    parser.add_argument('--over', type=Path, nargs='+', required=True, help='folders of the model to compare with')
    parser.add_argument('--block', type=positive, default=1, help='consecutive images of one block: frames of a video')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help='KEY=VALUE for the config')
    args = parser.parse_args(argv)
    quiet()
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    ignored = next((metric['ignore_index'] for metric in evaluators(cfg).values() if 'ignore_index' in metric), 255)
    count = partial(_all_counts, dataset, image_root(cfg), ignore_index=ignored)
    first, second = ([*map(count, side)] for side in (args.masks, args.over))
    found = intervals(first, second, args.block)
    print(to_markdown({'gain (95 %)': {name: '{:+.2f} ({:+.2f} to {:+.2f})'.format(*x) for name, x in found.items()}}))


if __name__ == '__main__':
    run(main)
