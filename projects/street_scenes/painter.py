"""The camera, the weather and the canvas of a generated street scene.

A scene is a straight street in meters, seen by a pinhole camera: X to the right, Y up from the ground, Z forward. One
call paints a shape into the image and into the label, so the two always agree. Both are painted ``SUPERSAMPLING``
times larger: image pixels are then averaged, and a label pixel takes the class at its center. Colors are BGR.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

CLASSES = ('sky', 'building', 'road', 'pavement', 'tree', 'car', 'pole', 'sign', 'rider')  # as in the data set's config
THIN_CLASSES = ('pole', 'sign', 'rider')
IGNORE = 255
IDS = {name: i for i, name in enumerate(CLASSES)} | {'ignore': IGNORE}

SUPERSAMPLING = 3  # odd, so that a pixel has a sample at its center
NEAR, FAR = 1.5, 130.0  # m, the street's nearest and farthest painted point


@dataclass(frozen=True)
class _Weather:
    zenith: tuple[int, int, int]
    horizon: tuple[int, int, int]  # also the color of the haze
    tint: tuple[float, float, float]  # color of a white wall in the shade, relative to 255
    sunlight: float  # by how much the sun brightens a surface
    haze: float  # m, depth at which 63 % of a color is lost
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


class Painter:
    """The street's camera, weather and canvas.

    Args:
        size (tuple[int, int]): height and width of the scene in pixels.
        rng (np.random.Generator): draws the camera, the weather and every random detail.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator):
        height, width = (SUPERSAMPLING * length for length in size)
        self.rng = rng
        self.image = np.zeros((height, width, 3), np.uint8)
        self.label = np.zeros((height, width), np.uint8)
        self.weather = _WEATHERS[rng.integers(len(_WEATHERS))]
        self.sun = rng.choice((-1, 1))  # its side of the street
        self.focal = width * rng.uniform(0.75, 0.95)
        self.vanishing_point = width * rng.uniform(0.36, 0.64), height * rng.uniform(0.4, 0.5)
        self.eye = rng.uniform(-2.2, 2.2), rng.uniform(1.5, 2.1)

    def project(self, points) -> np.ndarray:
        """Points (..., 3) in meters to canvas positions (..., 2), rounded."""
        x, y, z = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        scale = self.focal / np.maximum(z, NEAR)
        across, down = (
            self.vanishing_point[0] + (x - self.eye[0]) * scale,
            self.vanishing_point[1] - (y - self.eye[1]) * scale,
        )
        return np.rint(np.stack((across, down), -1)).astype(np.int32)

    def scale(self, z: float) -> float:
        """Canvas pixels per meter at depth ``z`` (m)."""
        return self.focal / max(z, NEAR)

    def color(self, color: Sequence[float], z: float, light: float = 1.0) -> list[float]:
        """Return the color of a surface at depth ``z`` (m) in ``light`` (1 in the shade), with tint and haze."""
        clear = math.exp(-z / self.weather.haze)
        seen = zip(color, self.weather.tint, self.weather.horizon)
        return [float(clear * light * own * tint + (1 - clear) * haze) for own, tint, haze in seen]

    def vary(self, colors: Sequence[Sequence[float]]) -> np.ndarray:
        """One of ``colors``, slightly varied."""
        color = np.array(colors[self.rng.integers(len(colors))])
        return (color * self.rng.uniform(0.85, 1.12) + self.rng.normal(0, 3.5, 3)).clip(0, 255)

    def in_sun(self, side: int) -> float:
        """Light on a wall on this side of the street."""
        return 1 + self.weather.sunlight * (1 if side != self.sun else -0.3)

    @property
    def sunlit(self) -> float:
        """Light outside any shade."""
        return 1 + self.weather.sunlight

    def fill(self, polygons, color: Sequence[float], name: str | None, light: float = 1.0) -> None:
        """Paint polygons, (points, 3) or (n, points, 3) in meters; with ``name`` None, only into the image."""
        polygons = np.asarray(polygons, np.float64)
        if not polygons.size:
            return
        corners = self.project(polygons).reshape(-1, polygons.shape[-2], 2)
        z = max(3 * polygons[..., 2].sum() / polygons.size, NEAR)
        cv2.fillPoly(self.image, corners, self.color(color, z, light))
        if name:
            cv2.fillPoly(self.label, corners, IDS[name])

    def stroke(self, points, width: float, color, name: str, light: float = 1.0, most: float = math.inf) -> None:
        """Paint a line through ``points`` (points, 3), ``width`` meters thick, from 1 to ``most`` pixels."""
        z = sum(point[2] for point in points) / len(points)
        thickness = round(min(max(width * self.scale(z), SUPERSAMPLING), most * SUPERSAMPLING))
        line = self.project(points)[None]
        cv2.polylines(self.image, line, False, self.color(color, z, light), thickness)
        cv2.polylines(self.label, line, False, IDS[name], thickness)

    def disc(self, center, radius: float, color, name: str, light: float = 1.0) -> None:
        """Paint a disc of ``radius`` meters that faces the camera."""
        position, pixels = self.project(center).tolist(), round(radius * self.scale(center[2]))
        cv2.circle(self.image, position, pixels, self.color(color, center[2], light), -1)
        cv2.circle(self.label, position, pixels, IDS[name], -1)

    def shade(self, polygon, light: float) -> None:
        """Darken a polygon (points, 3) by the factor ``light``."""
        mask = cv2.fillPoly(np.zeros_like(self.label), self.project(polygon)[None], 1)
        cv2.copyTo(cv2.convertScaleAbs(self.image, alpha=light), mask, self.image)


def smooth_noise(shape: tuple[int, int], cell: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (H, W) whose blobs have the height and width ``cell``."""
    height, width = shape
    grid = rng.standard_normal((height // cell[0] + 2, width // cell[1] + 2), np.float32)
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def ground(x0, x1, z0, z1, y: float = 0.0) -> np.ndarray:
    """Make a horizontal rectangle (4, 3), or n of them (n, 4, 3) from arrays of n limits."""
    x0, x1, z0, z1 = np.broadcast_arrays(x0, x1, z0, z1)
    x = np.stack((x0, x1, x1, x0), -1)
    return np.stack((x, np.full(x.shape, y), np.stack((z0, z0, z1, z1), -1)), -1)


def upright(x0, x1, y0, y1, z) -> np.ndarray:
    """Make a rectangle (4, 3) that faces the camera."""
    return np.array(((x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)))


# Relative variation of the brightness within each class.
_TEXTURE = dict(
    building=0.02, road=0.05, pavement=0.04, tree=0.045, car=0.015, pole=0.02, sign=0.02, rider=0.02, ignore=0.02
)


def develop(painter: Painter) -> tuple[np.ndarray, np.ndarray]:
    """Return the photograph (H, W, 3), with texture, exposure, blur and sensor noise, and its label (H, W)."""
    rng, shape = painter.rng, tuple(length // SUPERSAMPLING for length in painter.label.shape)
    spread = np.zeros(256, np.float32)
    spread[[IDS[name] for name in _TEXTURE]] = list(_TEXTURE.values())
    noise = sum(smooth_noise(shape, cell, rng) for cell in ((1, 1), (4, 10), (9, 30)))
    image = _average(painter.image) * (1 + noise * _average(cv2.LUT(painter.label, spread)))[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.25, 0.6))
    image *= rng.uniform(0.88, 1.08) * rng.uniform(0.96, 1.04, 3)  # exposure and white balance
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 4))
    contrast = 255 * np.linspace(0, 1, 256) ** rng.uniform(0.8, 1.2)
    photograph = cv2.LUT(image.clip(0, 255).astype(np.uint8), np.rint(contrast).astype(np.uint8))
    center = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    return photograph, painter.label[center, center].copy()


def _average(canvas: np.ndarray) -> np.ndarray:
    return cv2.resize(canvas, None, fx=1 / SUPERSAMPLING, fy=1 / SUPERSAMPLING, interpolation=cv2.INTER_AREA)
