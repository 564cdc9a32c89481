"""Time inference on a canvas: python tools/analysis_tools/benchmark_inference.py CONFIG [CONFIG ...] --shape H W."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from tabulate import tabulate

from dsrl_mm.apis import deploy_config
from dsrl_mm.apis.compare import quiet
from dsrl_mm.engine.arguments import OptionsAction, positive, run
from dsrl_mm.engine.config import input_channels, read_config
from dsrl_mm.engine.timing import time_in_turn

__all__ = ['main', 'prediction']


@torch.no_grad()
def _predict(model: torch.nn.Module, canvas: torch.Tensor, amp: bool) -> None:
    with torch.autocast(canvas.device.type, enabled=amp):
        model(canvas, None)


def prediction(path: str, size: Sequence[int], options: dict, amp: bool = False) -> Callable[[], None]:
    """Make a function that computes the logits of a random canvas by a config's deployed model, without preprocessing.

    Args:
        path (str): a config.
        size (Sequence[int]): height and width of the canvas, in pixels.
        options (dict): overrides of the config, as ``--cfg-options`` gives them.
        amp (bool): whether to autocast to the device's half precision. Defaults to False.
    """
    cfg = read_config(path, options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = revert_sync_batchnorm(MODELS.build(deploy_config(cfg).model)).to(get_device()).eval()
    canvas = torch.randn(1, input_channels(cfg.model.backbone), *size, device=get_device())
    return partial(_predict, model, canvas, amp)


def main(argv: Sequence[str] | None = None) -> None:
    """Time inference of several configs in turn: medians in milliseconds, of processor time on a CPU."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument(
        '--shape', type=positive, nargs=2, required=True, metavar=('H', 'W'), help='of the canvas, in pixels'
    )
    parser.add_argument('--repeats', type=positive, default=5, help='timed runs of each')
    parser.add_argument('--amp', action='store_true', help='mixed precision: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument('--json', type=Path, help='a file to write the rows to')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help='KEY=VALUE for every config')
    args = parser.parse_args(argv)
    quiet()
    functions = {path: prediction(path, args.shape, args.cfg_options, args.amp) for path in args.configs}
    clock = time.process_time if get_device() == 'cpu' else time.perf_counter
    times = {path: median(runs) for path, runs in time_in_turn(functions, args.repeats, clock=clock).items()}
    first = times[args.configs[0]]
    rows = [
        {'config': Path(path).stem, 'milliseconds': 1000 * seconds, 'of the first': seconds / first}
        for path, seconds in times.items()
    ]
    print(tabulate(rows, 'keys', 'pipe', floatfmt=('', '.1f', '.3f')))
    print(f'{get_device()}, {torch.get_num_threads()} thread(s), {"x".join(map(str, args.shape))}')
    if args.json:
        args.json.write_text(json.dumps(rows))


if __name__ == '__main__':
    run(main)
