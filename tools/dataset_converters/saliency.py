"""Check a release of a saliency data set, and copy it to the layout of ``SaliencyDataset``.

Every image must have a mask of its name and size. Masks become gray PNG files; their gray values stay, because PGNet
learns them.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dsrl_mm.engine.arguments import run
from dsrl_mm.engine.checkpoint import write_whole
from dsrl_mm.seg.datasets.converting import (
    check_all,
    check_names,
    check_pair_size,
    convert_all,
    read_pixels,
    write_pixels,
)
from dsrl_mm.uhr.datasets.saliency import files_by_stem

__all__ = ['COUNTS', 'convert', 'main']

#: Images of the released sets: DUTS (Wang et al., CVPR 2017), DUT-OMRON (Yang et al., CVPR 2013), HRSOD (Zeng et al.,
#: ICCV 2019) and UHRSD (Xie et al., CVPR 2022). Of others, the number is not checked.
COUNTS = {
    'DUTS-TR': 10553,
    'DUTS-TE': 5019,
    'DUT-OMRON': 5168,
    'HRSOD-TE': 400,
    'UHRSD-TR': 4932,
    'UHRSD-TE': 988,
}


class _Pair(NamedTuple):
    image: Path
    mask: Path


def _convert_pair(pair: _Pair, out: Path) -> None:
    gray = read_pixels(pair.mask, 'L')
    if gray.max() == 1:  # class ids
        gray = gray * np.uint8(255)
    # The mask is written first, so that every image has one.
    write_pixels(gray, out / 'mask' / f'{pair.mask.stem}.png')
    write_whole(out / 'image' / pair.image.name, pair.image.read_bytes())


def convert(
    images: str | Path, masks: str | Path, out: str | Path, count: int | None = None, workers: int | None = None
) -> int:
    """Check and copy the pairs of a data set.

    Args:
        images (str | Path): folder of the images.
        masks (str | Path): folder of the masks, with the images' names; suffixes may differ.
        out (str | Path): folder for ``image/NAME.*`` and ``mask/NAME.png``.
        count (int, optional): number of images that there must be. Defaults to None: any.
        workers (int, optional): number of processes. Defaults to None: the number of cores.

    Returns:
        int: number of images.

    Raises:
        FileNotFoundError: if a folder has no images, or an image no mask, or a mask no image. Nothing is written.
        ValueError: if there is another number of images, two have one name, or sizes differ (nothing is written); if
            files are damaged (the others are converted).
    """
    image_files, mask_files = files_by_stem(images), files_by_stem(masks)
    remedy = 'Unpack the release again, or remove what has no counterpart.'
    check_names(mask_files, image_files, f'{masks}, masks', remedy)
    check_names(image_files, mask_files, f'{images}, images', remedy)
    if count not in (None, len(image_files)):
        raise ValueError(f'{images} has {len(image_files)} images, but the release has {count}. Unpack it again.')
    pairs = [_Pair(Path(path), Path(mask_files[name])) for name, path in image_files.items()]
    check_all(lambda pair: check_pair_size(pair.image, pair.mask), pairs)
    convert_all(partial(_convert_pair, out=Path(out)), pairs, workers)
    return len(pairs)


def main(argv: Sequence[str] | None = None) -> None:
    """Check a saliency data set, and copy it to the layout of SaliencyDataset."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('name', help=f'of the data set, a folder of OUT; the number of {", ".join(COUNTS)} is checked')
    parser.add_argument('images', help='folder of the images')
    parser.add_argument('masks', help='folder of the masks')
    parser.add_argument('out', help='folder of all saliency data sets; SALIENCY_ROOT of the configs')
    parser.add_argument('--workers', type=int, help='processes (as many as there are cores)')
    args = parser.parse_args(argv)
    found = convert(args.images, args.masks, Path(args.out, args.name), COUNTS.get(args.name), args.workers)
    print(f'\n{args.out}/{args.name}: {found} images')


if __name__ == '__main__':
    run(main)
