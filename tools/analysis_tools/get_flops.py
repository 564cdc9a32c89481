"""Count parameters and operations: python tools/analysis_tools/get_flops.py CONFIG [CONFIG ...] [--shape H W]."""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from rich.progress import track
from tabulate import tabulate

from dsrl_mm.apis import task_of
from dsrl_mm.apis.compare import quiet
from dsrl_mm.engine.arguments import OptionsAction, positive, run
from dsrl_mm.engine.complexity import measure_complexity
from dsrl_mm.engine.config import input_channels, read_config
from dsrl_mm.engine.loading import without_pretrained

__all__ = ['count', 'main']


def count(cfg: Config, size: Sequence[int] | None = None) -> dict[str, str | float]:
    """One row of the table.

    Args:
        cfg (Config): of any segmentor or pose estimator.
        size (Sequence[int], optional): height and width in pixels of the network input: the paper counts operations
            for the reduced image. Defaults to None: the config's canvas (``crop_size``, or the codec's
            ``input_size``) over ``scale_factor``.

    Returns:
        dict[str, str | float]: parameters in millions, at deployment and in training; multiply-adds (GMACs) and
        operations (GFLOPs, two per multiply-add) in 1e9 at deployment; and the operations that SSSR adds, in percent
        of the network without it, '' without an SSSR head.

    Raises:
        ValueError: if no size is known.
    """
    task = task_of(cfg)
    if size is None:
        size = task.network_input(cfg)[1:]
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    model = MODELS.build(without_pretrained(cfg.model)).to('meta')  # operations depend on shapes alone
    canvas = [task.reduction(cfg) * side for side in size]
    cost = measure_complexity(model, canvas, input_channels(cfg.model.backbone))
    return {
        'config': Path(cfg.filename).stem if cfg.filename else '',
        'input size': '{}x{}'.format(*size),
        'M params': cost.params / 1e6,
        'in training': (cost.params + cost.training_params) / 1e6,
        'GMACs': cost.macs / 1e9,
        'GFLOPs': cost.flops / 1e9,
        'SSSR adds %': 100 * cost.sssr_flops / (cost.flops - cost.sssr_flops) if cost.sssr_flops else '',
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Count parameters and operations of networks for the reduced image that they read."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument(
        '--shape', type=positive, nargs=2, metavar=('H', 'W'), help="the network's input size, in pixels"
    )
    parser.add_argument('--out', type=Path, help='a CSV file to write')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, default={}, help='KEY=VALUE for every config')
    args = parser.parse_args(argv)
    quiet()
    rows = []
    for path in track(args.configs, 'Counting'):
        cfg = read_config(path, args.cfg_options)
        rows.append(count(cfg, args.shape))
    print(tabulate(rows, 'keys', 'pipe', floatfmt='.2f'))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with open(args.out, 'w', newline='') as f:
            writer = csv.DictWriter(f, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == '__main__':
    run(main)
