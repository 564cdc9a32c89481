"""Time training steps: python tools/analysis_tools/benchmark_step.py CONFIG [CONFIG ...] [--amp]."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
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
from tabulate import tabulate

from dsrl_mm.cli import use_amp
from dsrl_mm.engine.config import read_config
from dsrl_mm.engine.loading import without_pretrained
from dsrl_mm.engine.timing import time_in_turn

__all__ = ['main', 'training_step']


def training_step(cfg: Config) -> Callable[[], None]:
    """Make a function that trains the model of a config for one step, on random pixels of its canvas's size."""
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

    return partial(model.train_step, batch, wrapper)


def main(argv: Sequence[str] | None = None) -> None:
    """Time training steps of segmentation configs, interleaved, and print medians and ratios to the first."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('configs', nargs='+', help='config files; the others are compared with the first')
    parser.add_argument('--amp', action='store_true', help='mixed precision, as with tools/train.py --amp')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1, help='CPU threads')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    MMLogger.get_instance('step_benchmark', log_level='ERROR')
    steps = {}
    for config in args.configs:
        cfg = read_config(config)
        if args.amp:
            use_amp(cfg)
        steps[config] = training_step(cfg)
    times = time_in_turn(steps, args.repeats)
    first = median(times[args.configs[0]])
    rows = [
        [config, median(values), max(values) - min(values), median(values) / first] for config, values in times.items()
    ]
    print(tabulate(rows, ['config', 's per step', 'range', 'ratio'], 'pipe', floatfmt='.3f'))


if __name__ == '__main__':
    main()
