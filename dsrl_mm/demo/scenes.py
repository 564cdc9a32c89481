"""Generated street scenes with labels, so that the demo needs no download.

A scene is a straight street in metres, seen by a pinhole camera: X to the right, Y up from the ground, Z ahead of the
camera. Everything is painted from far to near, each shape with one call into the image and into the label, so that the
two always agree. Both are painted ``_SS`` times larger; the image is then averaged, while a label pixel takes the class
at its centre. Colours are BGR, as OpenCV has them.
"""

import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from rich.progress import track

__all__ = ['CLASSES', 'IGNORE', 'THIN_CLASSES', 'make_scene', 'write_scenes']

# Name and palette colour (RGB) of every class; a class's id is its place.
CLASSES = {
    'sky': (130, 190, 235),
    'building': (115, 105, 110),
    'road': (128, 64, 128),
    'pavement': (232, 180, 205),
    'tree': (80, 150, 50),
    'car': (25, 40, 150),
    'pole': (250, 245, 235),
    'sign': (250, 205, 0),
    'rider': (225, 30, 45),
}
THIN_CLASSES = ('pole', 'sign', 'rider')
IGNORE = 255

_VERSION = 2  # raise it when the same parameters make other pictures
_SS = 3  # supersampling; odd, so that a pixel has a sample at its centre
_NEAR, _FAR = 1.5, 130.0  # m, the street's nearest and farthest painted point
_ID = {name: i for i, name in enumerate(CLASSES)} | {'ignore': IGNORE}


@dataclass(frozen=True)
class _Weather:
    zenith: tuple[int, int, int]
    horizon: tuple[int, int, int]  # also the colour of the haze
    tint: tuple[float, float, float]  # what a white wall in the shade looks like, relative to 255
    sunlight: float  # how much brighter than in the shade it is in the sun
    haze: float  # m, where 63 % of a colour is lost
    clouds: float  # share of the sky
    lamps: float  # share of lit windows


_WEATHERS = (
    _Weather((205, 135, 70), (240, 220, 190), (0.92, 0.86, 0.84), 0.35, 350, 0.35, 0.0),  # sun
    _Weather((215, 150, 90), (245, 230, 210), (0.90, 0.88, 0.86), 0.30, 260, 0.55, 0.0),  # sun and clouds
    _Weather((190, 180, 172), (222, 216, 210), (0.84, 0.82, 0.80), 0.0, 200, 0.8, 0.05),  # overcast
    _Weather((205, 202, 198), (216, 213, 209), (0.84, 0.83, 0.81), 0.0, 75, 0.3, 0.1),  # fog
    _Weather((175, 130, 95), (150, 195, 245), (0.68, 0.76, 0.86), 0.35, 180, 0.5, 0.1),  # evening sun
    _Weather((110, 72, 50), (130, 120, 165), (0.68, 0.60, 0.60), 0.0, 220, 0.5, 0.45),  # dusk
)


class _Painter:
    """The street's camera, weather and canvas.

    Args:
        size (tuple[int, int]): height and width of the scene in pixels.
        rng (np.random.Generator): draws the camera, the weather, and whatever is left to chance in the painting.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator):
        height, width = (_SS * length for length in size)
        self.rng = rng
        self.image = np.zeros((height, width, 3), np.uint8)
        self.label = np.zeros((height, width), np.uint8)
        self.weather = _WEATHERS[rng.integers(len(_WEATHERS))]
        self.sun = rng.choice((-1, 1))  # the side of the street it stands over
        self.focal = width * rng.uniform(0.75, 0.95)
        self.vanishing_point = width * rng.uniform(0.36, 0.64), height * rng.uniform(0.4, 0.5)
        self.eye = rng.uniform(-2.2, 2.2), rng.uniform(1.5, 2.1)

    def project(self, points) -> np.ndarray:
        """Points (..., 3) in metres to canvas positions (..., 2), rounded."""
        x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        scale = self.focal / np.maximum(z, _NEAR)
        across, down = (
            self.vanishing_point[0] + (x - self.eye[0]) * scale,
            self.vanishing_point[1] - (y - self.eye[1]) * scale,
        )
        return np.rint(np.stack((across, down), -1)).astype(np.int32)

    def scale(self, z: float) -> float:
        """Canvas pixels per metre at depth ``z`` (m)."""
        return self.focal / max(z, _NEAR)

    def colour(self, colour: Sequence[float], z: float, light: float = 1.0) -> list[float]:
        """What a surface looks like from ``z`` metres in ``light`` (1: in the shade)."""
        clear = math.exp(-z / self.weather.haze)
        seen = zip(colour, self.weather.tint, self.weather.horizon)
        return [float(clear * light * own * tint + (1 - clear) * haze) for own, tint, haze in seen]

    def vary(self, colours: Sequence[Sequence[float]]) -> np.ndarray:
        """One of ``colours``, a little changed."""
        colour = np.array(colours[self.rng.integers(len(colours))])
        return (colour * self.rng.uniform(0.85, 1.12) + self.rng.normal(0, 3.5, 3)).clip(0, 255)

    def in_sun(self, side: int) -> float:
        """Light on a wall at this side of the street, which faces the other side."""
        return 1 + self.weather.sunlight * (1 if side != self.sun else -0.3)

    @property
    def sunlit(self) -> float:
        """Light on what nothing shades."""
        return 1 + self.weather.sunlight

    def fill(self, polygons, colour: Sequence[float], name: str | None, light: float = 1.0) -> None:
        """Paint polygons, (points, 3) or (n, points, 3) in metres. With ``name`` None the class below stays."""
        polygons = np.asarray(polygons, np.float64)
        if not polygons.size:
            return
        corners = self.project(polygons).reshape(-1, polygons.shape[-2], 2)
        z = max(3 * polygons[..., 2].sum() / polygons.size, _NEAR)
        cv2.fillPoly(self.image, corners, self.colour(colour, z, light))
        if name:
            cv2.fillPoly(self.label, corners, _ID[name])

    def stroke(self, points, width: float, colour, name: str, light: float = 1.0, most: float = math.inf) -> None:
        """Paint a line through ``points`` (points, 3), ``width`` metres thick, from 1 to ``most`` pixels."""
        z = sum(point[2] for point in points) / len(points)
        thickness = round(min(max(width * self.scale(z), _SS), most * _SS))
        line = self.project(points)[None]
        cv2.polylines(self.image, line, False, self.colour(colour, z, light), thickness)
        cv2.polylines(self.label, line, False, _ID[name], thickness)

    def disc(self, centre, radius: float, colour, name: str, light: float = 1.0) -> None:
        """Paint a disc of ``radius`` metres that faces the camera."""
        x, y, z = centre
        scale = self.scale(z)
        position = (
            round(self.vanishing_point[0] + (x - self.eye[0]) * scale),
            round(self.vanishing_point[1] - (y - self.eye[1]) * scale),
        )
        cv2.circle(self.image, position, round(radius * scale), self.colour(colour, z, light), -1)
        cv2.circle(self.label, position, round(radius * scale), _ID[name], -1)

    def shade(self, polygon, light: float) -> None:
        """Darken what lies in a polygon (points, 3) by the factor ``light``."""
        corners = self.project(polygon)
        height, width = self.label.shape
        left, top = corners.min(0).clip(0, (width, height))
        right, bottom = (corners.max(0) + 1).clip(0, (width, height))
        if left < right and top < bottom:
            window = self.image[top:bottom, left:right]
            mask = np.zeros(window.shape[:2], np.uint8)
            cv2.fillPoly(mask, (corners - (left, top))[None], 1)
            cv2.copyTo(cv2.convertScaleAbs(window, alpha=light), mask, window)


def _smooth_noise(shape: tuple[int, int], cell: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise (H, W) of standard deviation below 1 whose blobs have the height and width ``cell``."""
    height, width = shape
    grid = rng.standard_normal((height // cell[0] + 2, width // cell[1] + 2), np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def _ground(x0, x1, z0, z1, y: float = 0.0) -> np.ndarray:
    """A level rectangle (4, 3); with arrays of n limits, n of them: (n, 4, 3)."""
    x0, x1, z0, z1 = np.broadcast_arrays(x0, x1, z0, z1)
    x = np.stack((x0, x1, x1, x0), -1)
    return np.stack((x, np.full(x.shape, y), np.stack((z0, z0, z1, z1), -1)), -1)


def _upright(x0, x1, y0, y1, z) -> np.ndarray:
    """A rectangle (4, 3) that faces the camera."""
    return np.array(((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)))


def _paint_sky(painter: _Painter) -> None:
    height, width = (length // (2 * _SS) + 1 for length in painter.label.shape)  # smooth, so a coarse grid will do
    weather, rng = painter.weather, painter.rng
    down = np.clip(np.arange(height) * 2 * _SS / painter.vanishing_point[1], 0, 1)[:, None, None]
    sky = np.array(weather.zenith) * (1 - down) + np.array(weather.horizon) * down
    noise = sum(_smooth_noise((height, width), (cell, 4 * cell), rng) * cell for cell in (12, 6, 3, 1)) / 12
    cloud = np.clip(noise + 2 * weather.clouds - 1, 0, 1)[..., None] * 0.8
    sky = sky * (1 - cloud) + np.minimum(np.array(weather.horizon) * 1.06, 252) * cloud
    painter.image[:] = cv2.resize(sky.clip(0, 255).astype(np.uint8), painter.label.shape[::-1])
    painter.label[:] = _ID['sky']


def _paint_ground(painter: _Painter, kerb: float) -> None:
    """Road between -``kerb`` and ``kerb`` (m), pavement beyond."""
    rng, light = painter.rng, painter.sunlit
    asphalt = painter.vary(((92, 88, 88), (78, 76, 78), (104, 102, 100)))
    slabs = painter.vary(((150, 156, 164), (140, 142, 145), (135, 150, 172)))
    depths = np.geomspace(_NEAR, _FAR, 16)
    for z0, z1 in reversed(list(zip(depths[:-1], depths[1:] * 1.01))):  # strips, for the haze
        painter.fill(_ground(-60, 60, z0, z1), slabs, 'pavement', light)
        painter.fill(_ground(-kerb - 0.25, kerb + 0.25, z0, z1), slabs * 1.2, 'pavement', light)
        painter.fill(_ground(-kerb, kerb, z0, z1), asphalt, 'road', light)
    for side in (-1, 1):
        joints, rows = np.arange(_NEAR, 25, 1.2), side * (kerb + np.arange(1.2, 5, 1.2))
        painter.fill(_ground(side * (kerb + 0.25), side * (kerb + 5), joints, joints + 0.06), slabs * 0.82, None, light)
        painter.fill(_ground(rows, rows + 0.06, _NEAR, 25), slabs * 0.82, None, light)
    for _ in range(rng.integers(3)):  # mended asphalt
        x, z = rng.uniform(-kerb, kerb - 2), rng.uniform(4, 30)
        painter.fill(_ground(x, x + 2, z, z + rng.uniform(2, 9)), asphalt * rng.uniform(0.8, 1.15), None, light)
    _paint_markings(painter, kerb)
    if painter.weather.sunlight:
        edge = painter.sun * (kerb + 5 - rng.uniform(2, 2 * kerb))
        painter.shade(_ground(painter.sun * 60, edge, _NEAR, _FAR), 1 / light)


def _paint_markings(painter: _Painter, kerb: float) -> None:
    rng, light = painter.rng, painter.sunlit
    white = np.array((215, 218, 220)) * rng.uniform(0.75, 1)
    for z in np.arange(rng.uniform(2, 8), 90, 7):
        painter.fill(_ground(-0.07, 0.07, z, z + 3.5), white, None, light)
    if rng.random() < 0.6:  # bicycle lanes
        edges = np.array((-1, 1)) * (kerb - 3.3)
        for z0, z1 in ((_NEAR, 25), (25, 90)):
            painter.fill(_ground(edges - 0.06, edges + 0.06, z0, z1), white, None, light)
    if rng.random() < 0.5:  # zebra crossing
        z, stripes = rng.uniform(7, 22), np.arange(-kerb + 0.4, kerb - 0.5, 1.1)
        painter.fill(_ground(stripes, stripes + 0.55, z, z + 2.8), white, None, light)


_WALLS = ((175, 200, 215), (85, 100, 155), (105, 130, 170), (165, 170, 172), (190, 185, 170), (140, 190, 215))
_GROUND_FLOOR, _FLOOR = 4.0, 3.1  # m
_ROOFS = ((60, 75, 130), (80, 78, 80))
_SHOPS = ((60, 60, 62), (70, 85, 120), (95, 85, 75), (75, 88, 78))
_VIVID = ((40, 45, 215), (190, 95, 30), (40, 185, 235), (80, 140, 40), (35, 110, 235), (150, 60, 150), (225, 225, 230))


def _paint_building(painter: _Painter, side: int, x: float, z0: float, z1: float) -> None:
    """A block with one wall at ``x`` (m) along the street, from ``z0`` to ``z1``, and one towards the camera."""
    rng = painter.rng
    floors = rng.integers(1, 6)
    top = _GROUND_FLOOR + _FLOOR * floors
    if floors < 3:  # a roof any higher cannot be seen from the street
        u = x + np.multiply(side, (0, 3, 11, 14))
        front = (u[0], top, z0), (u[3], top, z0), (u[2], top + 2.6, z0 + 3), (u[1], top + 2.6, z0 + 3)
        flank = (u[0], top, z0), (u[0], top, z1), (u[1], top + 2.6, z1 - 3), (u[1], top + 2.6, z0 + 3)
        tiles = painter.vary(_ROOFS)
        painter.fill(front, tiles, 'building')
        painter.fill(flank, tiles, 'building', painter.in_sun(side))
    wall = painter.vary(_WALLS)
    style = dict(
        wall=wall,
        frame=wall * rng.choice((0.75, 1.2)),
        glass=np.multiply((95, 78, 66), rng.uniform(0.6, 1.2)),
        shop=painter.vary(_SHOPS),
        awning=painter.vary(_VIVID) * 0.8,
        pitch=rng.uniform(2.2, 3.4),  # m from window to window
        share=rng.uniform(0.4, 0.62),  # of it that is glass
    )
    _paint_wall(painter, (x, 0, z0), (side, 0, 0), 14.0, floors, style, 1 + 0.4 * painter.weather.sunlight)
    _paint_wall(painter, (x, 0, z0), (0, 0, 1), z1 - z0, floors, style, painter.in_sun(side))


def _paint_wall(painter: _Painter, corner, along, length: float, floors: int, style: dict, light: float) -> None:
    def panels(starts, width: float, bottoms, height: float) -> np.ndarray:
        """Rectangles (n, 4, 3) on the wall: one for every start and every bottom (m)."""
        u = np.add.outer(starts, (0, width, width, 0))[:, None, :, None] * along
        v = np.add.outer(bottoms, (0, 0, height, height))[None, :, :, None] * (0, 1, 0)
        return (corner + u + v).reshape(-1, 4, 3)

    rng, lamps = painter.rng, painter.weather.lamps
    top = _GROUND_FLOOR + _FLOOR * floors
    painter.fill(panels([0], length, [0], top), style['wall'], 'building', light)
    painter.fill(panels([0], length, [0], 3.6), style['shop'], None, light)
    painter.fill(panels([0], length, [top - 0.5], 0.5), style['frame'], None, light)
    starts, storeys = np.arange(0.6, length - 1.8, style['pitch']), 4.6 + _FLOOR * np.arange(floors)
    width = style['pitch'] * style['share']
    painter.fill(panels(starts - 0.15, width + 0.3, storeys - 0.15, 2.0), style['frame'], None, light)
    windows = panels(starts, width, storeys, 1.7)
    chance = rng.random(len(windows))
    painter.fill(windows, style['glass'], None, light)
    painter.fill(windows[chance > 0.6], style['glass'] * 0.75, None, light)
    painter.fill(windows[chance > 0.85], painter.weather.horizon, None, 0.85 * light)
    painter.fill(windows[chance < lamps], (110, 195, 245), None, 1.4)
    shops = panels(np.arange(0.5, length - 3, 3.6), 2.8, [0.6], 2.0)
    painter.fill(shops, (100, 150, 190) if lamps else style['glass'], None, 1.3 if lamps > 0.2 else light)
    awnings = panels(np.arange(0.5, length - 3, 3.6), 2.8, [2.5], 0.8)
    painter.fill(awnings[rng.random(len(awnings)) < 0.25], style['awning'], None, light)


_LEAVES = ((45, 110, 70), (40, 125, 85), (60, 105, 60), (60, 120, 75), (55, 135, 120), (45, 100, 165))


def _paint_street_end(painter: _Painter) -> None:
    """What closes the view: blocks across the street, trees before them."""
    rng = painter.rng
    for x in np.arange(-70, 70, 12) + rng.uniform(-4, 4):
        painter.fill(_upright(x, x + 13, 0, rng.uniform(5, 22), _FAR), painter.vary(_WALLS), 'building')
    if rng.random() < 0.6:
        for x in rng.uniform(-25, 25, 22):
            centre = x, rng.uniform(1.5, 4), 0.95 * _FAR
            painter.disc(centre, rng.uniform(2, 3.5), painter.vary(_LEAVES[:3]), 'tree')


def _paint_tree(painter: _Painter, x: float, z: float) -> None:
    rng = painter.rng
    trunk, radius = rng.uniform(2, 3.2), rng.uniform(1.3, 2.1)
    leaves, bark = painter.vary(_LEAVES).tolist(), painter.vary(((55, 70, 88), (70, 78, 85)))
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    painter.shade(np.stack((x + radius * np.cos(turn), 0 * turn, z + radius * np.sin(turn)), -1), 0.75)
    top = trunk + radius
    painter.fill(((x - 0.2, 0, z), (x + 0.2, 0, z), (x + 0.1, top, z), (x - 0.1, top, z)), bark, 'tree')
    for tip in rng.uniform(-0.7, 0.7, 3) * radius:
        painter.stroke(((x, trunk * 0.9, z), (x + tip, top, z)), 0.1, bark, 'tree')
    count = round(min(max(700 / z, 14), 70))
    angle, reach = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.random(count))
    across, up = reach * np.cos(angle), reach * np.sin(angle)
    light = 0.55 * up - 0.3 * painter.sun * across * (painter.weather.sunlight > 0) + rng.normal(0, 0.25, count)
    light = (0.72 + 0.28 * light.clip(-0.6, 1.1)) * painter.sunlit
    sizes = radius * rng.uniform(0.12, 0.3, count) * (70 / count) ** 0.3
    tufts = np.stack((x + across * radius, trunk + radius * (1 + 1.15 * up), sizes, light), -1)
    for u, v, size, shade in tufts[light.argsort()].tolist():  # the darkest are deepest in the crown
        painter.disc((u, v, z), size, leaves, 'tree', shade)


# Side views, rear bumper first: (z, y) in metres, and which of the edges between the points are glass.
_SEDAN = ((0, 0.3), (0, 0.92), (0.55, 0.98), (1.15, 1.43), (2.5, 1.45), (3.3, 0.95), (4.3, 0.8), (4.4, 0.3)), (2, 4)
_HATCHBACK = ((0, 0.3), (0.05, 0.95), (0.4, 1.5), (2.2, 1.52), (3.0, 0.98), (3.8, 0.85), (3.9, 0.3)), (1, 3)
_ESTATE = ((0, 0.3), (0.05, 1.0), (0.35, 1.65), (2.9, 1.68), (3.6, 1.05), (4.5, 0.95), (4.6, 0.3)), (1, 3)
_VAN = ((0, 0.3), (0, 1.15), (0.1, 2.0), (3.7, 2.05), (4.5, 1.2), (5.1, 1.05), (5.1, 0.3)), (1, 3)
_CARS = _SEDAN, _HATCHBACK, _ESTATE, _VAN
_PAINTS = ((45, 45, 48), (200, 200, 205), (150, 150, 155), (50, 40, 150), (140, 80, 40), (60, 90, 60), (60, 150, 190))
_GLASS, _TYRE = (70, 58, 50), (22, 20, 20)


def _paint_car(painter: _Painter, x: float, z: float, oncoming: bool) -> None:
    """A car 1.8 m wide whose nearer end is at ``z``."""
    profile, glazed = _CARS[painter.rng.choice(len(_CARS), p=(0.35, 0.3, 0.2, 0.15))]
    profile = np.array(profile)
    length, edges = profile[:, 0].max(), len(profile) - 1
    if oncoming:
        profile = (profile * (-1, 1) + (length, 0))[::-1]
        glazed = sorted(edges - 1 - edge for edge in glazed)
    paint = painter.vary(_PAINTS)
    left, right = x - 0.9, x + 0.9
    painter.shade(_ground(left - 0.15, right + 0.15, z - 0.2, z + length + 0.2), 0.4)
    painter.fill(_upright(left, right, 0.08, 0.4, z + 0.3), _TYRE, 'car')
    for edge in reversed(range(edges)):
        (z0, y0), (z1, y1) = profile[edge : edge + 2]
        sheet = np.array(((left, y0, z + z0), (right, y0, z + z0), (right, y1, z + z1), (left, y1, z + z1)))
        steep = abs(y1 - y0) / np.hypot(z1 - z0, y1 - y0)
        painter.fill(sheet, paint, 'car', painter.sunlit * (1.1 - 0.35 * steep))
        if edge in glazed:
            painter.fill(_shrink(sheet, 0.84), _GLASS, None, painter.sunlit * 1.3)
    _paint_car_end(painter, x, z, oncoming)
    if abs(x - painter.eye[0]) > 0.9:
        _paint_car_side(painter, left if x > painter.eye[0] else right, z, profile, glazed, paint)


def _shrink(points: np.ndarray, factor) -> np.ndarray:
    return points.mean(0) + (points - points.mean(0)) * factor


def _paint_car_end(painter: _Painter, x: float, z: float, oncoming: bool) -> None:
    lamp, light = (225, 240, 250) if oncoming else (40, 35, 210), 1.9 if painter.weather.lamps > 0.2 else 1.1
    for side in (-1, 1):
        painter.fill(_upright(x + side * 0.85, x + side * 0.55, 0.66, 0.84, z), lamp, None, light)
        painter.fill(_upright(x + side * 0.88, x + side * 0.64, 0.0, 0.34, z), _TYRE, 'car')
    painter.fill(_upright(x - 0.26, x + 0.26, 0.46, 0.6, z), (205, 215, 220), None)


def _paint_car_side(painter: _Painter, x: float, z: float, profile: np.ndarray, glazed, paint) -> None:
    def outline(points: np.ndarray) -> np.ndarray:
        """From the profile's (z, y) to the street."""
        return np.stack((np.full(len(points), x), points[:, 1], z + points[:, 0]), -1)

    light = painter.in_sun(1 if x > painter.eye[0] else -1) * 0.85
    painter.fill(outline(profile), paint, 'car', light)
    cabin = np.concatenate([profile[edge : edge + 2] for edge in glazed])
    painter.fill(outline(_shrink(cabin, (0.86, 0.7))), _GLASS, None, light * 1.2)
    turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    rim = np.stack((np.cos(turn), np.sin(turn)), -1)
    for hub in (0.85, profile[:, 0].max() - 0.85):
        painter.fill(outline(0.33 * rim + (hub, 0.33)), _TYRE, 'car', light)
        painter.fill(outline(0.18 * rim + (hub, 0.33)), (140, 140, 145), None, light)


_METAL = ((48, 46, 44), (60, 54, 50), (46, 54, 42))  # darker than walls and sky, as nothing else on the pavement is
_THICKEST = 4.0  # pixels, a pole's greatest width


def _paint_lamp_post(painter: _Painter, side: int, x: float, z: float, height: float, metal: np.ndarray) -> None:
    painter.stroke(((x, 0, z), (x, 1.2, z)), 0.3, metal, 'pole', most=_THICKEST)
    painter.stroke(((x, 0, z), (x, height, z)), 0.22, metal, 'pole', most=_THICKEST)
    bend, tip, end = (x - side * reach for reach in (0.8, 1.8, 2.4))
    painter.stroke(((x, height, z), (bend, height + 0.35, z), (tip, height + 0.4, z)), 0.1, metal, 'pole', most=2)
    lamp = (150, 225, 255) if painter.weather.lamps > 0.2 else (185, 190, 192)
    painter.stroke(((tip, height + 0.36, z), (end, height + 0.36, z)), 0.2, lamp, 'pole', 1.2, most=3)
    if painter.rng.random() < 0.3:
        _paint_sign(painter, x, painter.rng.uniform(2.6, 3.4), z)


def _paint_sign_post(painter: _Painter, x: float, z: float, metal: np.ndarray) -> None:
    height = painter.rng.uniform(2.5, 3.2)
    painter.stroke(((x, 0, z), (x, height, z)), 0.14, metal, 'pole', most=_THICKEST)
    _paint_sign(painter, x, height, z)
    if painter.rng.random() < 0.35:
        _paint_sign(painter, x, height - 1.2, z)


_RED, _BLUE, _YELLOW, _GREEN, _WHITE = (35, 30, 205), (190, 85, 20), (20, 190, 245), (90, 130, 20), (235, 235, 235)


def _paint_sign(painter: _Painter, x: float, y: float, z: float) -> None:
    """A traffic sign about 1 m across, at least 6 pixels: saturated colours with a white mark."""
    rng, light = painter.rng, 1.12 + 0.5 * painter.weather.sunlight
    radius = max(rng.uniform(0.46, 0.56), 3 * _SS / painter.scale(z))

    def plate(corners, colour) -> None:
        painter.fill([(x + u * radius, y + v * radius, z) for u, v in corners], colour, 'sign', light)

    kind = rng.choice(('prohibition', 'obligation', 'warning', 'priority', 'direction'))
    if kind == 'prohibition':
        painter.disc((x, y, z), radius, _RED, 'sign', light)
        painter.disc((x, y, z), radius * 0.45, _WHITE, 'sign', light)
    elif kind == 'obligation':
        painter.disc((x, y, z), radius, _BLUE, 'sign', light)
        plate(((-0.2, -0.55), (0.2, -0.55), (0.2, 0.55), (-0.2, 0.55)), _WHITE)
    elif kind == 'warning':
        plate(((-1.25, -0.95), (1.25, -0.95), (0, 1.2)), _RED)
        plate(((-0.6, -0.55), (0.6, -0.55), (0, 0.5)), _YELLOW)
    elif kind == 'priority':
        for size, colour in ((1.25, _YELLOW), (0.45, _WHITE)):
            plate(((-size, 0), (0, -size), (size, 0), (0, size)), colour)
    else:
        plate(((-1.5, -0.7), (1.5, -0.7), (1.5, 0.7), (-1.5, 0.7)), _GREEN if rng.random() < 0.5 else _BLUE)
        plate(((-1.1, 0), (1, 0), (1, 0.25), (-1.1, 0.25)), _WHITE)


def _paint_bollard(painter: _Painter, x: float, z: float, metal: np.ndarray) -> None:
    painter.stroke(((x, 0, z), (x, 0.95, z)), 0.18, metal, 'pole', most=_THICKEST)


def _paint_wire(painter: _Painter, half_width: float, height: float, z: float) -> None:
    """A wire across the street, which hangs through by half a metre."""
    across = np.linspace(-1, 1, 9)
    points = np.stack((across * half_width, height - 0.5 * (1 - across**2), np.full(9, z)), -1)
    painter.stroke(points, 0.02, (45, 42, 42), 'pole')


_CLOTHES = ((60, 230, 230), (40, 120, 245), (170, 60, 220), (215, 180, 40), (45, 45, 225), (235, 235, 240))
_TROUSERS = ((90, 55, 40), (45, 42, 42), (60, 75, 110))
_SKIN = ((150, 180, 225), (95, 130, 180), (60, 85, 130))


def _paint_rider(painter: _Painter, x: float, z: float, turn: float) -> None:
    """A cyclist; ``turn`` is the bicycle's direction: 1 to the right, -1 to the left, near 0 along the street."""
    shirt, skin, trousers, frame = (painter.vary(colours) for colours in (_CLOTHES, _SKIN, _TROUSERS, _VIVID))
    light, broad = 1.1 + painter.weather.sunlight * 0.8, 1 - abs(turn)

    def at(along: float, up: float, sideways: float = 0.0) -> tuple[float, float, float]:
        """From the bicycle's own metres to the street."""
        return x + turn * along + broad * sideways, up, z

    def limb(points, width: float, colour) -> None:
        painter.stroke([at(*point) for point in points], width, colour, 'rider', light)

    painter.shade(_ground(x - 0.7, x + 0.7, z - 0.25, z + 0.25), 0.6)
    for hub in (-0.52, 0.52):
        angles = np.linspace(0, 2 * np.pi, 25)
        limb([(hub + 0.33 * math.cos(angle), 0.35 + 0.33 * math.sin(angle)) for angle in angles], 0.055, _TYRE)
    limb(((-0.52, 0.35), (-0.05, 0.32), (0.42, 0.85), (-0.17, 0.8), (-0.05, 0.32)), 0.05, frame)
    limb(((0.52, 0.35), (0.4, 1.02)), 0.05, frame)
    limb(((0.42, 1.02, -0.28), (0.42, 1.02, 0.28)), 0.05, _TYRE)
    crank = painter.rng.uniform(0, 2 * np.pi)
    for hip in (-0.11, 0.11):
        crank += np.pi
        knee = 0.22 + 0.08 * math.cos(crank), 0.68 + 0.1 * math.sin(crank), hip * 1.3
        limb(((-0.15, 0.95, hip), knee), 0.17, trousers)
        limb((knee, (-0.05 + 0.17 * math.cos(crank), 0.32 + 0.17 * math.sin(crank), hip)), 0.12, trousers)
    for hand in (-0.24, 0.24):
        limb(((0.14, 1.38, hand * 0.8), (0.3, 1.16, hand * 1.2), (0.42, 1.04, hand)), 0.1, shirt * 0.85)
    limb(((-0.13, 1.0), (0.1, 1.36)), 0.3 + 0.1 * broad, shirt)
    painter.disc(at(0.2, 1.66), 0.13, skin, 'rider', light)
    painter.disc(at(0.18, 1.73), 0.13, frame, 'rider', light)  # helmet


def _paint_box(painter: _Painter, x: float, z: float) -> None:
    """A bin or a cabinet: street furniture of no class."""
    width, height = painter.rng.uniform(0.3, 0.6), painter.rng.uniform(0.7, 1.2)
    colour = painter.vary(((60, 80, 50), (95, 95, 98), (50, 60, 140)))
    painter.fill(_upright(x - width / 2, x + width / 2, 0, height, z), colour, 'ignore')
    painter.fill(_ground(x - width / 2, x + width / 2, z, z + 0.5, height), colour, 'ignore', 1.25)


def _paint_bonnet(painter: _Painter) -> None:
    """The camera's own car, which carries no label."""
    height, width = painter.label.shape
    colour, rise = painter.vary(_PAINTS) * 0.8, height * painter.rng.uniform(0.05, 0.1)
    centre = round(width * painter.rng.uniform(0.45, 0.55)), height
    for axis, light in ((1.0, 0.8), (0.85, 1.0)):
        axes = round(width * 0.5 * axis), round(rise * axis)
        cv2.ellipse(painter.image, centre, axes, 0, 180, 360, painter.colour(colour, 0, light), -1)
        cv2.ellipse(painter.label, centre, axes, 0, 180, 360, IGNORE, -1)


# What stands on the street: its depth (m), which orders the painting, and how it is painted.
_Thing = tuple[float, Callable[[], None]]


def _place_buildings(painter: _Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things, z = painter.rng, [], _NEAR
    while z < 0.9 * _FAR:
        length, x = rng.uniform(8, 18), side * (kerb + rng.uniform(5, 6.5))
        if rng.random() < 0.8:
            # At its far end, so that whatever stands before the wall comes later.
            things.append((z + length, partial(_paint_building, painter, side, x, z, z + length)))
        else:
            trees = np.arange(max(z, 8) + 2, z + length, 4.5)
            things += [(tree, partial(_paint_tree, painter, x + side, tree)) for tree in trees]
        z += length
    return things


def _place_pavement(painter: _Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things = painter.rng, []
    x, height, metal = side * (kerb + 0.6), rng.uniform(5, 8), painter.vary(_METAL)
    for z in np.arange(rng.uniform(7, 13), 45, rng.uniform(9, 15)):
        things.append((z, partial(_paint_lamp_post, painter, side, x, z, height, metal)))
        if rng.random() < 0.15:
            things.append((z, partial(_paint_wire, painter, kerb + 0.6, height, z)))
    for z in rng.uniform(7, 26, rng.integers(1, 4)):
        things.append((z, partial(_paint_sign_post, painter, side * (kerb + rng.uniform(0.5, 1.4)), z, metal)))
    if rng.random() < 0.5:
        bollards = np.arange(rng.uniform(6, 12), 26, 2.2)
        things += [(z, partial(_paint_bollard, painter, x, z, metal)) for z in bollards]
    if rng.random() < 0.6:
        trees = np.arange(rng.uniform(8, 16), 90, rng.uniform(8, 16))
        things += [(z, partial(_paint_tree, painter, side * (kerb + 2.4), z)) for z in trees]
    for z in rng.uniform(8, 40, rng.integers(3)):
        things.append((z, partial(_paint_box, painter, side * (kerb + 3.8), z)))
    return things


def _place_traffic(painter: _Painter, side: int, kerb: float) -> list[_Thing]:
    rng, things = painter.rng, []
    oncoming = side < 0  # traffic keeps to the right
    cyclists, share = rng.uniform(8, 26, rng.integers(1, 3)), rng.uniform(0.15, 0.7)
    for z in cyclists:
        x, turn = side * (kerb - 2.65), rng.choice((-1, 1)) * rng.uniform(0.1, 0.5)
        things.append((z, partial(_paint_rider, painter, x, z, turn)))
    for z in np.arange(rng.uniform(7, 13), 65, 6.2):  # parked, but not beside a cyclist: one depth would not order them
        if rng.random() < share and not ((cyclists > z) & (cyclists < z + 5.2)).any():
            things.append((z, partial(_paint_car, painter, side * (kerb - 1.1), z, oncoming)))
    for z in np.cumsum(rng.uniform(8, 30, 3)) + 6:
        things.append((z, partial(_paint_car, painter, side * (kerb - 4.1), z, oncoming)))
    if rng.random() < 0.35:  # one who crosses
        z, turn = rng.uniform(7, 13), rng.choice((-1, 1)) * rng.uniform(0.75, 1)
        things.append((z, partial(_paint_rider, painter, side * rng.uniform(0.3, 2.6), z, turn)))
    return things


# How much the brightness of each class varies from place to place.
_TEXTURE = dict(
    building=0.02, road=0.05, pavement=0.04, tree=0.045, car=0.015, pole=0.02, sign=0.02, rider=0.02, ignore=0.02
)


def _develop(painter: _Painter) -> np.ndarray:
    """The photograph (H, W, 3): the canvas averaged, with texture, exposure, blur and sensor noise."""
    rng, shape = painter.rng, tuple(length // _SS for length in painter.label.shape)
    spread = np.zeros(256, np.float32)
    spread[[_ID[name] for name in _TEXTURE]] = list(_TEXTURE.values())
    noise = sum(_smooth_noise(shape, cell, rng) for cell in ((1, 1), (4, 10), (9, 30)))
    image = _average(painter.image) * (1 + noise * _average(cv2.LUT(painter.label, spread)))[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.25, 0.6))
    image *= rng.uniform(0.88, 1.08) * rng.uniform(0.96, 1.04, 3)  # exposure and white balance
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 4))
    contrast = 255 * np.linspace(0, 1, 256) ** rng.uniform(0.8, 1.2)
    return cv2.LUT(image.clip(0, 255).astype(np.uint8), np.rint(contrast).astype(np.uint8))


def _average(canvas: np.ndarray) -> np.ndarray:
    return cv2.resize(canvas, None, fx=1 / _SS, fy=1 / _SS, interpolation=cv2.INTER_AREA)


def make_scene(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paint one street scene.

    Args:
        size (tuple[int, int]): height and width in pixels; twice as wide as high looks best.
        rng (np.random.Generator): decides everything else.

    Returns:
        tuple[np.ndarray, np.ndarray]: the image, uint8 BGR (H, W, 3), and the label, uint8 (H, W), with the places in
        ``CLASSES`` as ids and 255 for street furniture and the camera's own car.
    """
    painter = _Painter(size, rng)
    kerb = rng.uniform(5, 6.3)
    _paint_sky(painter)
    _paint_ground(painter, kerb)
    _paint_street_end(painter)
    things = []
    for side in (-1, 1):
        for place in (_place_buildings, _place_pavement, _place_traffic):
            things += place(painter, side, kerb)
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()
    if rng.random() < 0.3:
        _paint_bonnet(painter)
    return _develop(painter), painter.label[_SS // 2 :: _SS, _SS // 2 :: _SS].copy()


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
