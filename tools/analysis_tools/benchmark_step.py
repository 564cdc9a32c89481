"""Time of a training step of several configs, in turn on one machine: what DSRL costs while training."""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from rich.progress import track
from tabulate import tabulate

from dsrl_mm.cli import use_amp
from dsrl_mm.engine.loading import without_pretrained

__all__ = ['main', 'training_step']


def training_step(cfg: Config) -> Callable[[], None]:
    """A function that trains the model of a config for one step, on random pixels of the size of its canvas."""
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = revert_sync_batchnorm(MODELS.build(without_pretrained(cfg.model))).to(get_device()).train()
    model.init_weights()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    height, width = cfg.crop_size
    classes = model.decode_head.num_classes
    batch_size = cfg.train_dataloader.batch_size
    batch = dict(
        inputs=list(torch.randint(256, (batch_size, 3, height, width), dtype=torch.uint8)),
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=torch.randint(classes, (1, height, width))), metainfo={})
            for _ in range(batch_size)
        ],
    )

    def step() -> None:
        model.train_step(batch, wrapper)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return step


def main(argv: Sequence[str] | None = None) -> None:
    """Time training steps of configs in turn, and print medians and ratios to the first."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('configs', nargs='+', help='config files; the first is what the others are compared with')
    parser.add_argument('--amp', action='store_true', help='mixed precision, as tools/train.py --amp')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    MMLogger.get_instance('step_benchmark', log_level='ERROR')
    steps = {}
    for config in args.configs:
        cfg = Config.fromfile(config)
        if args.amp:
            use_amp(cfg)
        steps[config] = training_step(cfg)
    times = {config: [] for config in steps}
    for turn in track(range(args.repeats + 1), 'Training'):
        for config, step in steps.items():
            start = time.perf_counter()
            step()
            if turn > 0:  # the first turn warms up
                times[config].append(time.perf_counter() - start)
    first = median(times[args.configs[0]])
    rows = [
        [config, median(values), f'{min(values):.3f}-{max(values):.3f}', f'{median(values) / first:.2f}']
        for config, values in times.items()
    ]
    print(tabulate(rows, ['config', 's per step', 'range', 'ratio'], 'pipe', floatfmt='.3f'))


if __name__ == '__main__':
    main()
