"""Generated street scenes with labels, so that the demo needs no download."""

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from . import street
from .painter import FAR, NEAR, Painter, develop

# Depth in meters, which orders the painting, and how to paint it.
_Thing = tuple[float, Callable[[], None]]


def _place_buildings(painter: Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things, z = painter.rng, [], NEAR
    while z < 0.9 * FAR:
        length, x = rng.uniform(8, 18), side * (kerb + rng.uniform(5, 6.5))
        if rng.random() < 0.8:
            # Ordered by its far end, so that objects in front of the wall are painted later.
            things.append((z + length, partial(street.paint_building, painter, side, x, z, z + length)))
        else:
            trees = np.arange(max(z, 8) + 2, z + length, 4.5)
            things += [(tree, partial(street.paint_tree, painter, x + side, tree)) for tree in trees]
        z += length
    return things


def _place_pavement(painter: Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things = painter.rng, []
    x, height, metal = side * (kerb + 0.6), rng.uniform(5, 8), painter.vary(street.METAL)
    for z in np.arange(rng.uniform(7, 13), 45, rng.uniform(9, 15)):
        things.append((z, partial(street.paint_lamp_post, painter, side, x, z, height, metal)))
        if rng.random() < 0.15:
            things.append((z, partial(street.paint_wire, painter, kerb + 0.6, height, z)))
    for z in rng.uniform(7, 26, rng.integers(1, 4)):
        things.append((z, partial(street.paint_sign_post, painter, side * (kerb + rng.uniform(0.5, 1.4)), z, metal)))
    if rng.random() < 0.5:
        bollards = np.arange(rng.uniform(6, 12), 26, 2.2)
        things += [(z, partial(street.paint_bollard, painter, x, z, metal)) for z in bollards]
    if rng.random() < 0.6:
        trees = np.arange(rng.uniform(8, 16), 90, rng.uniform(8, 16))
        things += [(z, partial(street.paint_tree, painter, side * (kerb + 2.4), z)) for z in trees]
    for z in rng.uniform(8, 40, rng.integers(3)):
        things.append((z, partial(street.paint_box, painter, side * (kerb + 3.8), z)))
    return things


def _place_traffic(painter: Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things = painter.rng, []
    oncoming = side < 0  # traffic keeps to the right
    cyclists, share = rng.uniform(8, 26, rng.integers(1, 3)), rng.uniform(0.15, 0.7)
    for z in cyclists:
        x, turn = side * (kerb - 2.65), rng.choice((-1, 1)) * rng.uniform(0.1, 0.5)
        things.append((z, partial(street.paint_rider, painter, x, z, turn)))
    # Parked, but not next to a cyclist, whose depth could not be ordered.
    for z in np.arange(rng.uniform(7, 13), 65, 6.2):
        if rng.random() < share and not ((cyclists > z) & (cyclists < z + 5.2)).any():
            things.append((z, partial(street.paint_car, painter, side * (kerb - 1.1), z, oncoming)))
    for z in np.cumsum(rng.uniform(8, 30, 3)) + 6:
        things.append((z, partial(street.paint_car, painter, side * (kerb - 4.1), z, oncoming)))
    if rng.random() < 0.35:  # one who crosses
        z, turn = rng.uniform(7, 13), rng.choice((-1, 1)) * rng.uniform(0.75, 1)
        things.append((z, partial(street.paint_rider, painter, side * rng.uniform(0.3, 2.6), z, turn)))
    return things


def make_scene(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint one street scene, from far to near.

    Args:
        size (tuple[int, int]): height and width in pixels; twice as wide as high looks best.
        rng (np.random.Generator): decides everything else.

    Returns:
        tuple[np.ndarray, np.ndarray]: the image, uint8 BGR (H, W, 3), and the label, uint8 (H, W): indices into
        ``CLASSES``, and 255 for street furniture and the camera's own car.
    """
    painter = Painter(size, rng)
    kerb = rng.uniform(5, 6.3)
    street.paint_sky(painter)
    street.paint_ground(painter, kerb)
    street.paint_street_end(painter)
    things = []
    for side in (-1, 1):
        for place in (_place_buildings, _place_pavement, _place_traffic):
            things += place(painter, side, kerb)
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
    if rng.random() < 0.3:
        street.paint_bonnet(painter)
    return develop(painter)


def write_scenes(root: Path, splits: dict[str, int], size: tuple[int, int] = (192, 384)) -> None:
    """Write scenes as ``images/SPLIT/NAME.png`` and ``labels/SPLIT/NAME.png``, the same files on every call.

    Args:
        root (Path): the data set's folder.
        splits (dict[str, int]): the number of scenes of each split.
        size (tuple[int, int]): height and width in pixels. Defaults to (192, 384).
    """
    for split, count in splits.items():
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            rng = np.random.default_rng((0, zlib.crc32(split.encode()), i))
            for kind, pixels in zip(('images', 'labels'), make_scene(size, rng)):
                cv2.imwrite(str(root / kind / split / f'{split}_{i:04d}.png'), pixels)
