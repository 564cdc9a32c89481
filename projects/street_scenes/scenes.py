"""Generated street scenes with labels, so that the demo needs no download. Everything is painted from far to near."""

import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from rich.progress import track

from .painter import CLASSES, FAR, IGNORE, NEAR, THIN_CLASSES, Painter, develop
from .street import (
    METAL,
    paint_bollard,
    paint_bonnet,
    paint_box,
    paint_building,
    paint_car,
    paint_ground,
    paint_lamp_post,
    paint_rider,
    paint_sign_post,
    paint_sky,
    paint_street_end,
    paint_tree,
    paint_wire,
)

__all__ = ['CLASSES', 'IGNORE', 'THIN_CLASSES', 'make_scene', 'write_scenes']

_VERSION = 2  # raise it when the same parameters make other pictures
# What stands on the street: its depth (m), which orders the painting, and how it is painted.
_Thing = tuple[float, Callable[[], None]]


def _place_buildings(painter: Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things, z = painter.rng, [], NEAR
    while z < 0.9 * FAR:
        length, x = rng.uniform(8, 18), side * (kerb + rng.uniform(5, 6.5))
        if rng.random() < 0.8:
            # At its far end, so that whatever stands before the wall comes later.
            things.append((z + length, partial(paint_building, painter, side, x, z, z + length)))
        else:
            trees = np.arange(max(z, 8) + 2, z + length, 4.5)
            things += [(tree, partial(paint_tree, painter, x + side, tree)) for tree in trees]
        z += length
    return things


def _place_pavement(painter: Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things = painter.rng, []
    x, height, metal = side * (kerb + 0.6), rng.uniform(5, 8), painter.vary(METAL)
    for z in np.arange(rng.uniform(7, 13), 45, rng.uniform(9, 15)):
        things.append((z, partial(paint_lamp_post, painter, side, x, z, height, metal)))
        if rng.random() < 0.15:
            things.append((z, partial(paint_wire, painter, kerb + 0.6, height, z)))
    for z in rng.uniform(7, 26, rng.integers(1, 4)):
        things.append((z, partial(paint_sign_post, painter, side * (kerb + rng.uniform(0.5, 1.4)), z, metal)))
    if rng.random() < 0.5:
        bollards = np.arange(rng.uniform(6, 12), 26, 2.2)
        things += [(z, partial(paint_bollard, painter, x, z, metal)) for z in bollards]
    if rng.random() < 0.6:
        trees = np.arange(rng.uniform(8, 16), 90, rng.uniform(8, 16))
        things += [(z, partial(paint_tree, painter, side * (kerb + 2.4), z)) for z in trees]
    for z in rng.uniform(8, 40, rng.integers(3)):
        things.append((z, partial(paint_box, painter, side * (kerb + 3.8), z)))
    return things


def _place_traffic(painter: Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things = painter.rng, []
    oncoming = side < 0  # traffic keeps to the right
    cyclists, share = rng.uniform(8, 26, rng.integers(1, 3)), rng.uniform(0.15, 0.7)
    for z in cyclists:
        x, turn = side * (kerb - 2.65), rng.choice((-1, 1)) * rng.uniform(0.1, 0.5)
        things.append((z, partial(paint_rider, painter, x, z, turn)))
    for z in np.arange(rng.uniform(7, 13), 65, 6.2):  # parked, but not beside a cyclist: one depth would not order them
        if rng.random() < share and not ((cyclists > z) & (cyclists < z + 5.2)).any():
            things.append((z, partial(paint_car, painter, side * (kerb - 1.1), z, oncoming)))
    for z in np.cumsum(rng.uniform(8, 30, 3)) + 6:
        things.append((z, partial(paint_car, painter, side * (kerb - 4.1), z, oncoming)))
    if rng.random() < 0.35:  # one who crosses
        z, turn = rng.uniform(7, 13), rng.choice((-1, 1)) * rng.uniform(0.75, 1)
        things.append((z, partial(paint_rider, painter, side * rng.uniform(0.3, 2.6), z, turn)))
    return things


def make_scene(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint one street scene.

    Args:
        size (tuple[int, int]): height and width in pixels; twice as wide as high looks best.
        rng (np.random.Generator): decides everything else.

    Returns:
        tuple[np.ndarray, np.ndarray]: the image, uint8 BGR (H, W, 3), and the label, uint8 (H, W), with the places in
        ``CLASSES`` as ids and 255 for street furniture and the camera's own car.
    """
    painter = Painter(size, rng)
    kerb = rng.uniform(5, 6.3)
    paint_sky(painter)
    paint_ground(painter, kerb)
    paint_street_end(painter)
    things = []
    for side in (-1, 1):
        for place in (_place_buildings, _place_pavement, _place_traffic):
            things += place(painter, side, kerb)
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
    if rng.random() < 0.3:
        paint_bonnet(painter)
    return develop(painter)


def write_scenes(
    root: str | Path,
    splits: dict[str, int] = dict(train=240, val=60),
    size: tuple[int, int] = (192, 384),
    seed: int = 0,
) -> None:
    """Write scenes as ``images/SPLIT/NAME.png`` and ``labels/SPLIT/NAME.png``, unless the same are there already.

    Scene i of a split depends on nothing but ``seed``, the split's name and i. The folder appears complete or not at
    all; scenes written before with other parameters are replaced.

    Args:
        root (str | Path): the data set's folder.
        splits (dict[str, int]): how many scenes each split has. Defaults to 240 in train and 60 in val.
        size (tuple[int, int]): height and width in pixels. Defaults to (192, 384).
        seed (int): not negative. Defaults to 0.

    Raises:
        FileExistsError: if ``root`` holds anything but scenes written by this function.
    """
    root = Path(root)
    marker = root / 'scenes.json'
    parameters = json.dumps(dict(version=_VERSION, splits=splits, size=list(size), seed=seed))
    if marker.exists() and marker.read_text() == parameters:
        return
    if root.exists() and not marker.exists() and any(root.iterdir()):
        raise FileExistsError(f'{root} holds something other than generated scenes. Name a new folder.')
    root.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f'{root.name}.', dir=root.parent) as folder:
        new = Path(folder) / 'new'
        names = [(split, i) for split, count in splits.items() for i in range(count)]
        for split, i in track(names, 'Painting street scenes'):
            rng = np.random.default_rng((seed, zlib.crc32(split.encode()), i))
            for kind, pixels in zip(('images', 'labels'), make_scene(size, rng)):
                file = new / kind / split / f'{split}_{i:04d}.png'
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(cv2.imencode('.png', pixels)[1])
        (new / marker.name).write_text(parameters)
        if root.exists():
            root.rename(Path(folder) / 'old')
        new.rename(root)
