"""Compare trained models: python tools/analysis_tools/compare.py --model NAME CONFIG CHECKPOINT [--model ...]."""

import argparse
from collections.abc import Sequence

from mmengine.config import DictAction

from dsrl_mm.apis.compare import Trained, compare_models, quiet, to_markdown
from dsrl_mm.engine.config import read_config
from dsrl_mm.engine.reader import TrustCheckpoint

__all__ = ['main']


def main(argv: Sequence[str] | None = None) -> None:
    """Compare trained models: one table of accuracy and cost, one picture."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        '--model',
        nargs=3,
        action='append',
        required=True,
        metavar=('NAME', 'CONFIG', 'CHECKPOINT'),
        help='once for each model',
    )
    parser.add_argument('--out', default='work_dirs/comparison', help='folder for the table and the picture')
    parser.add_argument('--pictures', type=int, default=3, help='rows of the picture')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='KEY=VALUE for every config')
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint)
    args = parser.parse_args(argv)
    quiet()
    entries = {}
    for name, config, checkpoint in args.model:
        cfg = read_config(config, args.cfg_options)
        entries[name] = Trained(cfg, checkpoint)
    print('\n' + to_markdown(compare_models(entries, args.out, args.pictures)))
    print(f'Written to {args.out}')


if __name__ == '__main__':
    main()
