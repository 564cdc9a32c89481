"""Draw the figures of the papers: python tools/figures.py KIND OUT --model NAME MODEL [CHECKPOINT] [--model ...]."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backend_bases import FigureCanvasBase

from dsrl_mm.apis import evaluate
from dsrl_mm.apis.compare import add_models, quiet, read_models
from dsrl_mm.apis.figures import (
    Sampled,
    draw_classes,
    draw_features,
    draw_keypoints,
    draw_masks,
    draw_rebuilt,
    evenly_spaced,
)
from dsrl_mm.engine.arguments import read_json, run

__all__ = ['main']

#: What draws each kind of test samples, and its description.
KINDS = {
    'features': (draw_features, 'feature maps of the SSSR and SISR branches (Fig. 3 and 5)'),
    'rebuilt': (draw_rebuilt, 'network input, its enlargement, rebuilt image and original (Fig. 7)'),
    'masks': (draw_masks, "image, ground truth and each model's mask (Fig. 8)"),
    'keypoints': (draw_keypoints, "ground truth and each model's keypoints on persons (Fig. 9)"),
}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    kinds = parser.add_subparsers(dest='kind', required=True, metavar='KIND')
    classes = kinds.add_parser('classes', help='IoU of every class (Fig. 6)')
    classes.add_argument('--scores', type=Path, help='comparison.json of compare.py, in place of tests of --model')
    for name, (_, text) in KINDS.items():
        kind = kinds.add_parser(name, help=text)
        kind.add_argument(
            '--samples', nargs='+', type=int, metavar='N', help='numbers of test samples, from 0 (3, evenly spaced)'
        )
        kind.add_argument(
            '--detail',
            nargs=4,
            type=int,
            metavar=('LEFT', 'TOP', 'RIGHT', 'BOTTOM'),
            help='a part of the image, in pixels, to mark and to show enlarged',
        )
    for name, kind in kinds.choices.items():
        kind.add_argument('out', type=Path, metavar='OUT', help='picture to write: .png, .pdf, .svg and more')
        add_models(kind, required=name != 'classes')
        kind.add_argument('--dpi', type=int, default=200, help='dots per inch (200)')
    args = parser.parse_args(argv)
    if (suffix := args.out.suffix[1:]) not in (known := FigureCanvasBase.get_supported_filetypes()):
        parser.error(f'{args.out}: a picture ends in {", ".join(known)}, not in {suffix!r}')
    if args.kind == 'classes' and bool(args.model) == bool(args.scores):
        classes.error('name models by --model, or their scores by --scores')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the figures of the papers for your own models."""
    args = _parse(argv)
    quiet()
    models = read_models(args)
    if args.kind == 'classes':
        metrics = [dict(type='ClassIoUMetric')]
        table = {name: evaluate(trained, name, metrics) for name, trained in models.items()}
        figure = draw_classes(read_json(args.scores) if args.scores else table)
    else:
        sampled = [Sampled(name, trained) for name, trained in models.items()]
        figure = KINDS[args.kind][0](sampled, args.samples or evenly_spaced(sampled, 3), args.detail)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=args.dpi, bbox_inches='tight')
    print(f'Written to {args.out}')


if __name__ == '__main__':
    run(main)
