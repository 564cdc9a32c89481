"""Convert the DeepGlobe land cover release (color labels) to the layout of ``DeepGlobeDataset``.

Colors become class ids after each channel is thresholded at 128. Splits are those of GLNet (``splits/NOTICE``): 454
images for training, 142 for testing, and the other 207 for validation.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dsrl_mm.engine.arguments import run
from dsrl_mm.engine.checkpoint import write_whole
from dsrl_mm.seg.datasets.color_labels import color_table, ids_of_colors
from dsrl_mm.seg.datasets.converting import (
    check_all,
    check_names,
    check_pair_size,
    convert_all,
    read_pixels,
    write_pixels,
)
from dsrl_mm.uhr.datasets import DeepGlobeDataset

__all__ = ['convert', 'label_ids', 'main', 'splits']

SPLITS = Path(__file__).with_name('splits')
COUNTS = dict(train=454, val=207, test=142)
SIZE = (2448, 2448)


@cache
def _table() -> np.ndarray:
    return color_table({tuple(color): i for i, color in enumerate(DeepGlobeDataset.METAINFO['palette'])})


def label_ids(colors: np.ndarray) -> np.ndarray:
    """Convert a color label (H, W, 3), uint8, R G B, to class ids (H, W), uint8.

    Raises:
        ValueError: if a color, thresholded, is none of the release's seven: (255, 0, 0) alone.
    """
    ids = ids_of_colors(np.where(colors >= 128, np.uint8(255), np.uint8(0)), _table())
    if (ids < 0).any():
        row, column = np.argwhere(ids < 0)[0]
        raise ValueError(
            f'the color {tuple(colors[row, column].tolist())} at row {row}, column {column} is none of the seven of '
            'DeepGlobe. Unpack the release again.'
        )
    return ids.astype(np.uint8)


def splits(names: Sequence[str]) -> dict[str, str]:
    """Return the split of each of the release's labeled images, by their ids."""
    listed = {
        name: split for split in ('train', 'test') for name in (SPLITS / f'deepglobe_{split}.txt').read_text().split()
    }
    return {name: listed.get(name, 'val') for name in names}


class _Pair(NamedTuple):
    image: Path
    label: Path
    split: str


def _convert_pair(pair: _Pair, out: Path) -> None:
    colors = read_pixels(pair.label)
    try:
        ids = label_ids(colors)
    except ValueError as error:
        raise ValueError(f'{pair.label}: {error}') from error
    # The label is written first, so that every image has one.
    write_pixels(ids, out / 'labels' / pair.split / pair.label.name)
    write_whole(out / 'images' / pair.split / pair.image.name, pair.image.read_bytes())


def convert(release: str | Path, out: str | Path, workers: int | None = None) -> dict[str, int]:
    """Convert the release.

    Args:
        release (str | Path): folder of ``ID_sat.jpg`` and ``ID_mask.png``: ``land-train``.
        out (str | Path): folder for ``images/SPLIT/ID_sat.jpg`` and ``labels/SPLIT/ID_mask.png``.
        workers (int, optional): number of processes. Defaults to None: the number of cores.

    Returns:
        dict[str, int]: number of images of each split.

    Raises:
        FileNotFoundError: if an image or a label is missing. Nothing is written.
        ValueError: if there are other counts or sizes (nothing is written); if files are damaged or colors unknown (the
            other images are converted).
    """
    release, remedy = Path(release), 'Point the command at the unpacked land-train folder.'
    images, labels = (
        {path.name.removesuffix(suffix) for path in release.glob(f'[!.]*{suffix}')}
        for suffix in ('_sat.jpg', '_mask.png')
    )
    check_names(labels, images, f'{release}, labels ID_mask.png', remedy)
    check_names(images, labels, f'{release}, images ID_sat.jpg', remedy)
    split_of = splits(sorted(labels))
    found = Counter(split_of.values())
    if found != COUNTS:
        raise ValueError(f'{release} has {dict(found)} labeled images, but the release has {COUNTS}. {remedy}')
    pairs = [
        _Pair(release / f'{name}_sat.jpg', release / f'{name}_mask.png', split) for name, split in split_of.items()
    ]
    check_all(lambda pair: check_pair_size(pair.image, pair.label, SIZE), pairs)
    convert_all(partial(_convert_pair, out=Path(out)), pairs, workers)
    return dict(found)


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the DeepGlobe land cover release to the layout of DeepGlobeDataset."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('release', help='folder with ID_sat.jpg and ID_mask.png (land-train)')
    parser.add_argument('out', help='folder for images and labels; DEEPGLOBE_ROOT of the configs')
    parser.add_argument('--workers', type=int, help='processes (as many as there are cores)')
    args = parser.parse_args(argv)
    counts = convert(args.release, args.out, args.workers)
    print(f'\n{args.out}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()) + ' images')


if __name__ == '__main__':
    run(main)
