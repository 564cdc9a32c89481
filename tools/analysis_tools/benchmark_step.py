"""Time training steps: python tools/analysis_tools/benchmark_step.py CONFIG [CONFIG ...] [--amp]."""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData, PixelData
from tabulate import tabulate
from torch import nn

from dsrl_mm.apis import task_of
from dsrl_mm.apis.compare import quiet
from dsrl_mm.cli import use_amp
from dsrl_mm.engine.arguments import positive, run
from dsrl_mm.engine.config import input_channels, read_config
from dsrl_mm.engine.loading import without_pretrained
from dsrl_mm.engine.timing import time_in_turn

__all__ = ['main', 'training_step']


def _label(cfg: Config, model: nn.Module) -> tuple[Sequence[int], Any]:
    """Return the size of the canvas, and random labels of its pixels."""
    from mmseg.structures import SegDataSample

    label = torch.randint(model.decode_head.num_classes, (1, *cfg.crop_size))
    return cfg.crop_size, SegDataSample(gt_sem_seg=PixelData(data=label))


def _heatmaps(cfg: Config, model: nn.Module) -> tuple[Sequence[int], Any]:
    """Return the size of the canvas, and heatmaps of random keypoints."""
    from mmpose.structures import PoseDataSample

    codec, keypoints = model.head.decoder, (1, model.head.out_channels)
    drawn = codec.encode(np.random.rand(*keypoints, 2) * codec.input_size, np.ones(keypoints))
    heatmaps, weights = (torch.from_numpy(drawn[key]).float() for key in ('heatmaps', 'keypoint_weights'))
    labels = InstanceData(keypoint_weights=weights)
    return codec.input_size[::-1], PoseDataSample(gt_fields=PixelData(heatmaps=heatmaps), gt_instance_labels=labels)


def training_step(cfg: Config, channels_last: bool = False) -> Callable[[], None]:
    """Make a function that trains the model of a config for one step, on random pixels of its canvas's size.

    Args:
        cfg (Config): of a segmentor or a pose estimator.
        channels_last (bool): whether weights have the channels-last memory format. Defaults to False.
    """
    task_of(cfg)  # which registers its models
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = revert_sync_batchnorm(MODELS.build(without_pretrained(cfg.model))).to(get_device()).train()
    model.init_weights()
    if channels_last:
        model.to(memory_format=torch.channels_last)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    draw = _heatmaps if cfg.default_scope == 'mmpose' else _label
    sizes, samples = zip(*(draw(cfg, model) for _ in range(cfg.train_dataloader.batch_size)))
    channels = input_channels(cfg.model.backbone)
    inputs = [torch.randint(256, (channels, *size), dtype=torch.uint8) for size in sizes]
    return partial(model.train_step, dict(inputs=inputs, data_samples=[*samples]), wrapper)


def main(argv: Sequence[str] | None = None) -> None:
    """Time training steps of configs, interleaved, and print medians and ratios to the first."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('configs', nargs='+', help='config files; the others are compared with the first')
    parser.add_argument('--amp', action='store_true', help='mixed precision, as with tools/train.py --amp')
    parser.add_argument('--channels-last', action='store_true', help='memory format of the weights')
    parser.add_argument('--repeats', type=positive, default=5)
    parser.add_argument('--threads', type=positive, default=1, help='CPU threads')
    parser.add_argument('--json', type=Path, help='a file to write the rows to')
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    quiet()
    steps = {}
    for config in args.configs:
        cfg = read_config(config)
        if args.amp:
            use_amp(cfg)
        steps[config] = training_step(cfg, args.channels_last)
    times = time_in_turn(steps, args.repeats)
    first = median(times[args.configs[0]])
    rows = [
        {
            'config': config,
            's per step': median(values),
            'range': max(values) - min(values),
            'ratio': median(values) / first,
        }
        for config, values in times.items()
    ]
    print(tabulate(rows, 'keys', 'pipe', floatfmt='.3f'))
    if args.json:
        args.json.write_text(json.dumps(rows))


if __name__ == '__main__':
    run(main)
