"""What the networks of configs cost: parameters and operations, with SSSR and without."""

import argparse
import copy
import csv
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, init_default_scope
from rich.progress import track
from tabulate import tabulate

from dsrl_mm.engine.complexity import Complexity, measure_complexity, network_input
from dsrl_mm.engine.config import input_channels, type_name

__all__ = ['count', 'main']


def _input_size(cfg: Config, size: Sequence[int] | None) -> tuple[int, int]:
    """Height and width of what the network reads: ``size``, or the canvas of the config over ``scale_factor``."""
    if type_name(cfg.model) not in ('DSRLSegmentor', 'DSRLTopdown'):
        raise ValueError(
            f'model.type is {type_name(cfg.model)!r}, but operations are counted of a DSRLSegmentor or a DSRLTopdown. '
            'A baseline is one of these with a stock head; tools/misc/to_dsrl.py converts MMSegmentation configs.'
        )
    return tuple(size) if size else network_input(cfg)


def _inference(cfg: Config, size: tuple[int, int]) -> Complexity:
    in_channels = input_channels(cfg.model.backbone)
    if type_name(cfg.model) == 'DSRLTopdown':
        model = copy.deepcopy(cfg.model)
        model.sr_aux = None
        model.head.decoder = None  # so that any size will do
        return measure_complexity(MODELS.build(model), tuple(side * model.scale_factor for side in size), in_channels)
    from dsrl_mm.apis.deploy import deploy_config

    return measure_complexity(MODELS.build(deploy_config(cfg, low_res_input=True).model), size, in_channels)


def _parameters(cfg: Config) -> int:
    return sum(parameter.numel() for parameter in MODELS.build(cfg.model).parameters())


def count(cfg: Config, size: Sequence[int] | None = None) -> dict[str, str | float]:
    """One row of the table.

    Args:
        cfg (Config): of a :class:`~dsrl_mm.seg.DSRLSegmentor` or a :class:`~dsrl_mm.pose.DSRLTopdown`.
        size (Sequence[int], optional): height and width in pixels of what the network reads: the paper counts
            operations for the reduced image. Defaults to None: the config's canvas (``crop_size``, or the codec's
            ``input_size``) over ``scale_factor``.

    Returns:
        dict[str, str | float]: parameters in millions, at deployment and in training; multiply-adds (GMACs) and
        operations (GFLOPs, two per multiply-add) in 1e9 at deployment; and by how much of the network without it SSSR
        raises the operations, in percent, '' without an SSSR head.

    Raises:
        ValueError: if the model is neither, or no size is known.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    size = _input_size(cfg, size)
    cost = _inference(cfg, size)
    return {
        'config': Path(cfg.filename).stem if cfg.filename else '',
        'input': f'{size[0]}x{size[1]}',
        'M params': cost.params / 1e6,
        'in training': _parameters(cfg) / 1e6,
        'GMACs': cost.macs / 1e9,
        'GFLOPs': cost.flops / 1e9,
        'SSSR adds %': 100 * cost.sssr_flops / (cost.flops - cost.sssr_flops) if cost.sssr_flops else '',
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Count parameters and operations of networks, of the reduced image that they read."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'), help="the network's input, in pixels")
    parser.add_argument('--out', type=Path, help='a CSV file to write')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='KEY=VALUE for every config')
    args = parser.parse_args(argv)
    rows = []
    for path in track(args.configs, 'Counting'):
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(args.cfg_options)
        rows.append(count(cfg, args.shape))
    print(tabulate(rows, 'keys', 'pipe', floatfmt='.2f'))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        with open(args.out, 'w', newline='') as f:
            writer = csv.DictWriter(f, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


if __name__ == '__main__':
    main()
