"""Compare runtimes of segmentation models: python tools/benchmark.py --model NAME MODEL [CHECKPOINT] [--model ...]."""

import argparse
import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from mmengine.registry import MODELS
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from tabulate import tabulate
from torch import nn

from dsrl_mm.apis import (
    ExportOptions,
    Runtime,
    Trained,
    build_deploy_model,
    evaluate,
    load_runtime,
    save_deploy,
    task_of,
)
from dsrl_mm.apis.compare import add_models, quiet, read_models
from dsrl_mm.apis.export import FORMATS, Network
from dsrl_mm.apis.export_files import default_size
from dsrl_mm.apis.runtime import of_network, use_runtime
from dsrl_mm.engine.arguments import positive, require_files, run
from dsrl_mm.engine.config import builds, input_channels
from dsrl_mm.engine.loading import for_inference
from dsrl_mm.engine.task import evaluators
from dsrl_mm.engine.timing import time_in_turn

__all__ = ['main']

#: Format and precision of each runtime's file; eager and compiled PyTorch have none.
RUNTIMES = {
    'eager': None,
    'compiled': None,
    'onnx': ('onnx', 'float32'),
    'openvino': ('openvino', 'float32'),
    'onnx-int8': ('onnx', 'int8'),
    'openvino-int8': ('openvino', 'int8'),
}


class _ByRuntime(Trained):
    """A trained model that predicts by a runtime."""

    rebuilds = False

    def __init__(self, trained: Trained, runtime: Runtime):
        super().__init__(trained.cfg, trained.checkpoint)
        self.runtime = runtime

    def model(self, also: tuple[str, ...] = ()) -> nn.Module:
        model = MODELS.build(for_inference(self.cfg.model)).eval()
        use_runtime(model, self.runtime)
        return model


def build_runtimes(
    trained: Trained, names: Sequence[str], folder: Path, size: tuple[int, int] | None, calib_dir: Path | None
) -> dict[str, Runtime]:
    """Build a model's runtimes; each takes normalized images of one size and gives logits.

    A runtime whose file does not compute what PyTorch does, as int8 may, is left out.
    """
    cfg, low_res = trained.cfg, task_of(trained.cfg).reads_frames(trained.cfg)
    model = build_deploy_model(cfg, trained.checkpoint, low_res)
    meta = dict(
        input='float32',
        channels=input_channels(cfg.model.backbone),
        batch=1,
        size=list(size or default_size(cfg, model, low_res)),
        entrance='low-res' if low_res else 'canvas',
        output='logits',
    )
    runtimes = {}
    for name in names:
        if name in ('eager', 'compiled'):
            network = Network(model)
            # Not dynamic: a second model's size would else be compiled as a symbol, which takes many minutes.
            runtimes[name] = of_network(torch.compile(network, dynamic=False) if name == 'compiled' else network, meta)
            continue
        format_, precision = RUNTIMES[name]
        options = ExportOptions([format_], meta['size'], precision=precision, image_dir=calib_dir)
        try:
            files = save_deploy(cfg, trained.checkpoint, folder, low_res, export=options)
        except RuntimeError as error:  # hours of other models would be lost
            print(f'{folder.name}: {name} is left out. {error}')
            continue
        runtimes[name] = load_runtime(next(file for file in files if file.suffix == FORMATS[format_]))
    return runtimes


def benchmark(runtimes: dict[str, Runtime], repeats: int) -> dict[str, float]:
    """Measure the median process time of one image in milliseconds, in turn."""
    calls = {}
    for name, runtime in runtimes.items():
        image = np.random.default_rng(0).normal(size=(1, runtime.meta['channels'], *runtime.meta['size']))
        calls[name] = partial(runtime, image.astype(np.float32))
    seconds = time_in_turn(calls, repeats, warmup=3, clock=time.process_time)
    return {name: 1000 * median(values) for name, values in seconds.items()}


def draw(rows: Sequence[dict]) -> Figure:
    """Draw mIoU against milliseconds: a color for each model, a marker for each runtime."""
    figure = Figure(figsize=(9, 4), layout='constrained')
    axis = figure.subplots()
    models, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ('model', 'runtime'))
    for row in rows:
        color, marker = f'C{models.index(row["model"])}', 'osD^vP'[names.index(row['runtime'])]
        axis.plot(row['milliseconds'], row['mIoU'], marker, color=color)
    for i, model in enumerate(models):
        axis.plot([], [], 's', color=f'C{i}', label=model)
    for marker, name in zip('osD^vP', names):
        axis.plot([], [], marker, color='0.5', label=name)
    axis.set(xlabel='CPU time of one image (ms)', ylabel='mIoU (%)', xscale='log')
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter('{x:g}')
    axis.xaxis.set_minor_formatter('')
    axis.grid(alpha=0.3)
    figure.legend(loc='outside center right', frameon=False)
    return figure


def _has_miou(trained: Trained) -> bool:
    """Whether the test of a model's config gives a mIoU."""
    return any(
        builds(metric, METRICS, IoUMetric) and 'mIoU' in metric.get('iou_metrics', ['mIoU'])
        for metric in evaluators(trained.cfg).values()
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Compare accuracy and speed of runtimes: a table, and a picture "mIoU against milliseconds"."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_models(parser)
    parser.add_argument('--runtimes', nargs='+', choices=[*RUNTIMES], default=['eager', 'onnx', 'openvino'])
    parser.add_argument('--size', nargs=2, type=positive, metavar=('H', 'W'), help="input size (each config's)")
    parser.add_argument('--calib-dir', type=Path, help='images to calibrate int8 with, such as those of the training')
    parser.add_argument('--repeats', type=positive, default=50, help='timed calls of each')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'), help='folder for all files')
    args = parser.parse_args(argv)
    quantized = [name for name in args.runtimes if name.endswith('int8')]
    if quantized and args.calib_dir is None:
        parser.error(f'{quantized[0]} is calibrated on images like those of later use: name a folder by --calib-dir')
    if args.calib_dir is not None:
        require_files(parser, args.calib_dir)
    models = read_models(args)
    for name, trained in models.items():
        if not _has_miou(trained):
            parser.error(f'--model {name}: test_evaluator has no IoUMetric that measures mIoU, which is compared')
    quiet()
    built, rows = {}, []
    for name, trained in models.items():
        runtimes = build_runtimes(trained, args.runtimes, args.out / name, args.size, args.calib_dir)
        for runtime, network in runtimes.items():
            try:
                accuracy = evaluate(_ByRuntime(trained, network), f'{name} by {runtime}')['mIoU']
            except (RuntimeError, ValueError) as error:  # such as test images of several sizes
                print(f'{name}: {runtime} is left out. {error}')
                continue
            built[f'{name} {runtime}'] = network
            height, width = network.meta['size']
            rows.append(dict(model=name, runtime=runtime, input=f'{height}x{width}', mIoU=accuracy))
    if not rows:
        parser.exit(1, 'No runtime is left to compare.\n')
    for row, milliseconds in zip(rows, benchmark(built, args.repeats).values()):
        row['milliseconds'] = milliseconds
    table = tabulate(rows, 'keys', 'pipe', floatfmt='.2f') + '\n'
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'benchmark.json').write_text(json.dumps(rows, indent=1))
    (args.out / 'benchmark.md').write_text(table)
    draw(rows).savefig(args.out / 'benchmark.png', dpi=120)
    print(f'\n{table}\nWritten to {args.out}. {torch.get_num_threads()} threads.')


if __name__ == '__main__':
    run(main)
