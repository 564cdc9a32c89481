"""Compare trained models: python tools/analysis_tools/compare.py --model NAME MODEL [CHECKPOINT] [--model ...]."""

import argparse
from collections.abc import Sequence

from dsrl_mm.apis.compare import add_models, compare_models, quiet, read_models, to_markdown
from dsrl_mm.engine.arguments import positive, run

__all__ = ['main']


def main(argv: Sequence[str] | None = None) -> None:
    """Compare trained models: one table of accuracy and cost, one picture."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    add_models(parser)
    parser.add_argument('--out', default='work_dirs/comparison', help='folder for the table and the picture')
    parser.add_argument('--pictures', type=positive, default=3, help='rows of the picture')
    args = parser.parse_args(argv)
    quiet()
    print('\n' + to_markdown(compare_models(read_models(args), args.out, args.pictures)))
    print(f'Written to {args.out}')


if __name__ == '__main__':
    run(main)
