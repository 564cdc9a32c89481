"""Convert the Inria Aerial release (labels of 0 and 255) to the layout of ``InriaAerialDataset``.

Splits are those of FCtL (``splits/NOTICE``): 27 images for validation, 27 for testing, and the other 126 for training.
Training reads crops, and to decode 75 MB for each takes longer than to train on it: ``--tile 2500`` cuts the training
images into tiles.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dsrl_mm.engine.arguments import run
from dsrl_mm.seg.datasets.converting import (
    check_all,
    check_names,
    check_pair_size,
    convert_all,
    read_pixels,
    write_pixels,
)

__all__ = ['convert', 'main', 'names_of', 'tiles']

SPLITS = Path(__file__).with_name('splits')
CITIES = ('austin', 'chicago', 'kitsap', 'tyrol-w', 'vienna')
SIZE = (5000, 5000)


def names_of(split: str) -> list[str]:
    """List the images of a split: 'train', 'val' or 'test'."""
    listed = {kind: (SPLITS / f'inria_{kind}.txt').read_text().split() for kind in ('val', 'test')}
    others = [f'{city}{i}' for city in CITIES for i in range(1, 37)]
    return listed.get(split) or [name for name in others if name not in {*listed['val'], *listed['test']}]


def tiles(pixels: np.ndarray, side: int) -> Iterator[tuple[str, np.ndarray]]:
    """Cut an image (H, W, ...) into tiles of ``side`` x ``side`` pixels, those at the bottom and the right smaller.

    Yields:
        tuple[str, np.ndarray]: '_ROW_COLUMN' in pixels, and the tile.
    """
    for top in range(0, pixels.shape[0], side):
        for left in range(0, pixels.shape[1], side):
            yield f'_{top}_{left}', pixels[top : top + side, left : left + side]


class _Pair(NamedTuple):
    image: Path
    label: Path
    split: str


def _convert_pair(pair: _Pair, out: Path, tile: int | None) -> None:
    colors, values = read_pixels(pair.image), read_pixels(pair.label, 'L')
    if strange := sorted({*np.unique(values).tolist()} - {0, 255}):
        raise ValueError(
            f'{pair.label} holds the values {strange[:5]}, but labels are 0 and 255. Unpack the release again.'
        )
    side = tile if tile and pair.split == 'train' else max(values.shape)
    for (place, part), (_, label_part) in zip(tiles(colors, side), tiles(values // 255, side)):
        name = pair.image.stem + (place if side < max(values.shape) else '')
        # The label is written first, so that every image has one.
        write_pixels(label_part, out / 'labels' / pair.split / f'{name}.png')
        write_pixels(part, out / 'images' / pair.split / f'{name}.tif')


def convert(
    release: str | Path, out: str | Path, tile: int | None = None, workers: int | None = None
) -> dict[str, int]:
    """Convert the release.

    Args:
        release (str | Path): folder with ``images/NAME.tif`` and ``gt/NAME.tif``: ``AerialImageDataset/train``.
        out (str | Path): folder for ``images/SPLIT/NAME.tif`` and ``labels/SPLIT/NAME.png``.
        tile (int, optional): side of the tiles of training images, in pixels. Defaults to None: whole images.
        workers (int, optional): number of processes. Defaults to None: the number of cores.

    Returns:
        dict[str, int]: number of images of each split, before they are cut into tiles.

    Raises:
        FileNotFoundError: if an image or a label is missing. Nothing is written.
        ValueError: if ``tile`` is not positive, or sizes differ (nothing is written); if files are damaged, or labels
            hold other values than 0 and 255 (the other images are converted).
    """
    if tile is not None and tile < 1:
        raise ValueError(f'tile is {tile}, but needs a number of pixels, such as 2500.')
    release = Path(release)
    pairs = [
        _Pair(release / 'images' / f'{name}.tif', release / 'gt' / f'{name}.tif', split)
        for split in ('train', 'val', 'test')
        for name in names_of(split)
    ]
    for folder in ('images', 'gt'):
        found = (path.stem for path in (release / folder).glob('[!.]*.tif'))
        remedy = 'Point the command at the unpacked AerialImageDataset/train folder.'
        check_names(found, (pair.image.stem for pair in pairs), f'{release / folder}, NAME.tif', remedy)
    check_all(lambda pair: check_pair_size(pair.image, pair.label, SIZE), pairs)
    convert_all(partial(_convert_pair, out=Path(out), tile=tile), pairs, workers)
    return dict(Counter(pair.split for pair in pairs))


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the Inria Aerial release to the layout of InriaAerialDataset."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('release', help='folder with images and gt (AerialImageDataset/train)')
    parser.add_argument('out', help='folder for images and labels; INRIA_ROOT of the configs')
    parser.add_argument('--tile', type=int, help='cut training images into tiles of this side in pixels, such as 2500')
    parser.add_argument('--workers', type=int, help='processes (as many as there are cores)')
    args = parser.parse_args(argv)
    counts = convert(args.release, args.out, args.tile, args.workers)
    print(f'\n{args.out}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()) + ' images')


if __name__ == '__main__':
    run(main)
