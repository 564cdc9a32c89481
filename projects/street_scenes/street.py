"""Functions that paint the objects of a street scene; lengths in meters."""

import math

import cv2
import numpy as np

from .painter import FAR, IDS, IGNORE, NEAR, SUPERSAMPLING, Painter, ground, smooth_noise, upright


def paint_sky(painter: Painter) -> None:
    # The sky is smooth: a coarse grid suffices.
    height, width = (length // (2 * SUPERSAMPLING) + 1 for length in painter.label.shape)
    weather, rng = painter.weather, painter.rng
    down = np.clip(np.arange(height) * 2 * SUPERSAMPLING / painter.vanishing_point[1], 0, 1)[:, None, None]
    sky = np.array(weather.zenith) * (1 - down) + np.array(weather.horizon) * down
    noise = sum(smooth_noise((height, width), (cell, 4 * cell), rng) * cell for cell in (12, 6, 3, 1)) / 12
    cloud = np.clip(noise + 2 * weather.clouds - 1, 0, 1)[..., None] * 0.8
    sky = sky * (1 - cloud) + np.minimum(np.array(weather.horizon) * 1.06, 252) * cloud
    painter.image[:] = cv2.resize(sky.clip(0, 255).astype(np.uint8), painter.label.shape[::-1])
    painter.label[:] = IDS['sky']


def paint_ground(painter: Painter, kerb: float) -> None:
    """Road between -``kerb`` and ``kerb`` (m), pavement beyond."""
    rng, light = painter.rng, painter.sunlit
    asphalt = painter.vary(((92, 88, 88), (78, 76, 78), (104, 102, 100)))
    slabs = painter.vary(((150, 156, 164), (140, 142, 145), (135, 150, 172)))
    depths = np.geomspace(NEAR, FAR, 16)
    for z0, z1 in reversed(list(zip(depths[:-1], depths[1:] * 1.01))):  # strips, for the haze
        painter.fill(ground(-60, 60, z0, z1), slabs, 'pavement', light)
        painter.fill(ground(-kerb - 0.25, kerb + 0.25, z0, z1), slabs * 1.2, 'pavement', light)
        painter.fill(ground(-kerb, kerb, z0, z1), asphalt, 'road', light)
    for side in (-1, 1):
        joints, rows = np.arange(NEAR, 25, 1.2), side * (kerb + np.arange(1.2, 5, 1.2))
        painter.fill(ground(side * (kerb + 0.25), side * (kerb + 5), joints, joints + 0.06), slabs * 0.82, None, light)
        painter.fill(ground(rows, rows + 0.06, NEAR, 25), slabs * 0.82, None, light)
    for _ in range(rng.integers(3)):  # patched asphalt
        x, z = rng.uniform(-kerb, kerb - 2), rng.uniform(4, 30)
        painter.fill(ground(x, x + 2, z, z + rng.uniform(2, 9)), asphalt * rng.uniform(0.8, 1.15), None, light)
    paint_markings(painter, kerb)
    if painter.weather.sunlight:
        edge = painter.sun * (kerb + 5 - rng.uniform(2, 2 * kerb))
        painter.shade(ground(painter.sun * 60, edge, NEAR, FAR), 1 / light)


def paint_markings(painter: Painter, kerb: float) -> None:
    rng, light = painter.rng, painter.sunlit
    white = np.array((215, 218, 220)) * rng.uniform(0.75, 1)
    for z in np.arange(rng.uniform(2, 8), 90, 7):
        painter.fill(ground(-0.07, 0.07, z, z + 3.5), white, None, light)
    if rng.random() < 0.6:  # bicycle lanes
        edges = np.array((-1, 1)) * (kerb - 3.3)
        for z0, z1 in ((NEAR, 25), (25, 90)):
            painter.fill(ground(edges - 0.06, edges + 0.06, z0, z1), white, None, light)
    if rng.random() < 0.5:  # zebra crossing
        z, stripes = rng.uniform(7, 22), np.arange(-kerb + 0.4, kerb - 0.5, 1.1)
        painter.fill(ground(stripes, stripes + 0.55, z, z + 2.8), white, None, light)


_WALLS = ((175, 200, 215), (85, 100, 155), (105, 130, 170), (165, 170, 172), (190, 185, 170), (140, 190, 215))
_GROUND_FLOOR, _FLOOR = 4.0, 3.1  # m
_ROOFS = ((60, 75, 130), (80, 78, 80))
_SHOPS = ((60, 60, 62), (70, 85, 120), (95, 85, 75), (75, 88, 78))
_VIVID = ((40, 45, 215), (190, 95, 30), (40, 185, 235), (80, 140, 40), (35, 110, 235), (150, 60, 150), (225, 225, 230))


def paint_building(painter: Painter, side: int, x: float, z0: float, z1: float) -> None:
    """Paint a building: one wall at ``x`` (m) along the street from ``z0`` to ``z1``, one that faces the camera."""
    rng = painter.rng
    floors = rng.integers(1, 6)
    top = _GROUND_FLOOR + _FLOOR * floors
    if floors < 3:  # higher roofs cannot be seen from the street
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
    paint_wall(painter, (x, 0, z0), (side, 0, 0), 14.0, floors, style, 1 + 0.4 * painter.weather.sunlight)
    paint_wall(painter, (x, 0, z0), (0, 0, 1), z1 - z0, floors, style, painter.in_sun(side))


def paint_wall(painter: Painter, corner, along, length: float, floors: int, style: dict, light: float) -> None:
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


def paint_street_end(painter: Painter) -> None:
    """Place buildings across the far end of the street, with trees in front of them."""
    rng = painter.rng
    for x in np.arange(-70, 70, 12) + rng.uniform(-4, 4):
        painter.fill(upright(x, x + 13, 0, rng.uniform(5, 22), FAR), painter.vary(_WALLS), 'building')
    if rng.random() < 0.6:
        for x in rng.uniform(-25, 25, 22):
            center = x, rng.uniform(1.5, 4), 0.95 * FAR
            painter.disc(center, rng.uniform(2, 3.5), painter.vary(_LEAVES[:3]), 'tree')


def paint_tree(painter: Painter, x: float, z: float) -> None:
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
    for u, v, size, shade in tufts[light.argsort()].tolist():  # dark ones first, deep in the crown
        painter.disc((u, v, z), size, leaves, 'tree', shade)


# Side views from the rear bumper on: points (z, y) in meters, and the indices of the edges that are glass.
_SEDAN = ((0, 0.3), (0, 0.92), (0.55, 0.98), (1.15, 1.43), (2.5, 1.45), (3.3, 0.95), (4.3, 0.8), (4.4, 0.3)), (2, 4)
_HATCHBACK = ((0, 0.3), (0.05, 0.95), (0.4, 1.5), (2.2, 1.52), (3.0, 0.98), (3.8, 0.85), (3.9, 0.3)), (1, 3)
_ESTATE = ((0, 0.3), (0.05, 1.0), (0.35, 1.65), (2.9, 1.68), (3.6, 1.05), (4.5, 0.95), (4.6, 0.3)), (1, 3)
_VAN = ((0, 0.3), (0, 1.15), (0.1, 2.0), (3.7, 2.05), (4.5, 1.2), (5.1, 1.05), (5.1, 0.3)), (1, 3)
_CARS = _SEDAN, _HATCHBACK, _ESTATE, _VAN
_PAINTS = ((45, 45, 48), (200, 200, 205), (150, 150, 155), (50, 40, 150), (140, 80, 40), (60, 90, 60), (60, 150, 190))
_GLASS, _TYRE = (70, 58, 50), (22, 20, 20)


def paint_car(painter: Painter, x: float, z: float, oncoming: bool) -> None:
    """Paint a car, 1.8 m wide, whose near end is at ``z``."""
    profile, glazed = _CARS[painter.rng.choice(len(_CARS), p=(0.35, 0.3, 0.2, 0.15))]
    profile = np.array(profile)
    length, edges = profile[:, 0].max(), len(profile) - 1
    if oncoming:
        profile = (profile * (-1, 1) + (length, 0))[::-1]
        glazed = sorted(edges - 1 - edge for edge in glazed)
    paint = painter.vary(_PAINTS)
    left, right = x - 0.9, x + 0.9
    painter.shade(ground(left - 0.15, right + 0.15, z - 0.2, z + length + 0.2), 0.4)
    painter.fill(upright(left, right, 0.08, 0.4, z + 0.3), _TYRE, 'car')
    for edge in reversed(range(edges)):
        (z0, y0), (z1, y1) = profile[edge : edge + 2]
        sheet = np.array(((left, y0, z + z0), (right, y0, z + z0), (right, y1, z + z1), (left, y1, z + z1)))
        steep = abs(y1 - y0) / np.hypot(z1 - z0, y1 - y0)
        painter.fill(sheet, paint, 'car', painter.sunlit * (1.1 - 0.35 * steep))
        if edge in glazed:
            painter.fill(_shrink(sheet, 0.84), _GLASS, None, painter.sunlit * 1.3)
    paint_car_end(painter, x, z, oncoming)
    if abs(x - painter.eye[0]) > 0.9:
        paint_car_side(painter, left if x > painter.eye[0] else right, z, profile, glazed, paint)


def _shrink(points: np.ndarray, factor) -> np.ndarray:
    return points.mean(0) + (points - points.mean(0)) * factor


def paint_car_end(painter: Painter, x: float, z: float, oncoming: bool) -> None:
    lamp, light = (225, 240, 250) if oncoming else (40, 35, 210), 1.9 if painter.weather.lamps > 0.2 else 1.1
    for side in (-1, 1):
        painter.fill(upright(x + side * 0.85, x + side * 0.55, 0.66, 0.84, z), lamp, None, light)
        painter.fill(upright(x + side * 0.88, x + side * 0.64, 0.0, 0.34, z), _TYRE, 'car')
    painter.fill(upright(x - 0.26, x + 0.26, 0.46, 0.6, z), (205, 215, 220), None)


def paint_car_side(painter: Painter, x: float, z: float, profile: np.ndarray, glazed, paint) -> None:
    def outline(points: np.ndarray) -> np.ndarray:
        """Profile (z, y) to street coordinates."""
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


METAL = ((48, 46, 44), (60, 54, 50), (46, 54, 42))  # darker than walls and sky
_THICKEST = 4.0  # pixels, a pole's greatest width


def paint_lamp_post(painter: Painter, side: int, x: float, z: float, height: float, metal: np.ndarray) -> None:
    painter.stroke(((x, 0, z), (x, 1.2, z)), 0.3, metal, 'pole', most=_THICKEST)
    painter.stroke(((x, 0, z), (x, height, z)), 0.22, metal, 'pole', most=_THICKEST)
    bend, tip, end = (x - side * reach for reach in (0.8, 1.8, 2.4))
    painter.stroke(((x, height, z), (bend, height + 0.35, z), (tip, height + 0.4, z)), 0.1, metal, 'pole', most=2)
    lamp = (150, 225, 255) if painter.weather.lamps > 0.2 else (185, 190, 192)
    painter.stroke(((tip, height + 0.36, z), (end, height + 0.36, z)), 0.2, lamp, 'pole', 1.2, most=3)
    if painter.rng.random() < 0.3:
        paint_sign(painter, x, painter.rng.uniform(2.6, 3.4), z)


def paint_sign_post(painter: Painter, x: float, z: float, metal: np.ndarray) -> None:
    height = painter.rng.uniform(2.5, 3.2)
    painter.stroke(((x, 0, z), (x, height, z)), 0.14, metal, 'pole', most=_THICKEST)
    paint_sign(painter, x, height, z)
    if painter.rng.random() < 0.35:
        paint_sign(painter, x, height - 1.2, z)


_RED, _BLUE, _YELLOW, _GREEN, _WHITE = (35, 30, 205), (190, 85, 20), (20, 190, 245), (90, 130, 20), (235, 235, 235)


def paint_sign(painter: Painter, x: float, y: float, z: float) -> None:
    """Paint a traffic sign about 1 m across, at least 6 pixels, in saturated colors."""
    rng, light = painter.rng, 1.12 + 0.5 * painter.weather.sunlight
    radius = max(rng.uniform(0.46, 0.56), 3 * SUPERSAMPLING / painter.scale(z))

    def plate(corners, color) -> None:
        painter.fill([(x + u * radius, y + v * radius, z) for u, v in corners], color, 'sign', light)

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
        for size, color in ((1.25, _YELLOW), (0.45, _WHITE)):
            plate(((-size, 0), (0, -size), (size, 0), (0, size)), color)
    else:
        plate(((-1.5, -0.7), (1.5, -0.7), (1.5, 0.7), (-1.5, 0.7)), _GREEN if rng.random() < 0.5 else _BLUE)
        plate(((-1.1, 0), (1, 0), (1, 0.25), (-1.1, 0.25)), _WHITE)


def paint_bollard(painter: Painter, x: float, z: float, metal: np.ndarray) -> None:
    painter.stroke(((x, 0, z), (x, 0.95, z)), 0.18, metal, 'pole', most=_THICKEST)


def paint_wire(painter: Painter, half_width: float, height: float, z: float) -> None:
    """Paint a wire across the street that sags by half a meter."""
    across = np.linspace(-1, 1, 9)
    points = np.stack((across * half_width, height - 0.5 * (1 - across**2), np.full(9, z)), -1)
    painter.stroke(points, 0.02, (45, 42, 42), 'pole')


_CLOTHES = ((60, 230, 230), (40, 120, 245), (170, 60, 220), (215, 180, 40), (45, 45, 225), (235, 235, 240))
_TROUSERS = ((90, 55, 40), (45, 42, 42), (60, 75, 110))
_SKIN = ((150, 180, 225), (95, 130, 180), (60, 85, 130))


def paint_rider(painter: Painter, x: float, z: float, turn: float) -> None:
    """Paint a cyclist who rides to the right (``turn`` 1), to the left (-1) or along the street (0)."""
    shirt, skin, trousers, frame = (painter.vary(colors) for colors in (_CLOTHES, _SKIN, _TROUSERS, _VIVID))
    light, broad = 1.1 + painter.weather.sunlight * 0.8, 1 - abs(turn)

    def at(along: float, up: float, sideways: float = 0.0) -> tuple[float, float, float]:
        """Bicycle coordinates to street coordinates."""
        return x + turn * along + broad * sideways, up, z

    def limb(points, width: float, color) -> None:
        painter.stroke([at(*point) for point in points], width, color, 'rider', light)

    painter.shade(ground(x - 0.7, x + 0.7, z - 0.25, z + 0.25), 0.6)
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


def paint_box(painter: Painter, x: float, z: float) -> None:
    """Paint a bin or a cabinet, which belongs to no class."""
    width, height = painter.rng.uniform(0.3, 0.6), painter.rng.uniform(0.7, 1.2)
    color = painter.vary(((60, 80, 50), (95, 95, 98), (50, 60, 140)))
    painter.fill(upright(x - width / 2, x + width / 2, 0, height, z), color, 'ignore')
    painter.fill(ground(x - width / 2, x + width / 2, z, z + 0.5, height), color, 'ignore', 1.25)


def paint_bonnet(painter: Painter) -> None:
    """Paint the bonnet of the camera's own car, which belongs to no class."""
    height, width = painter.label.shape
    color, rise = painter.vary(_PAINTS) * 0.8, height * painter.rng.uniform(0.05, 0.1)
    center = round(width * painter.rng.uniform(0.45, 0.55)), height
    for axis, light in ((1.0, 0.8), (0.85, 1.0)):
        axes = round(width * 0.5 * axis), round(rise * axis)
        cv2.ellipse(painter.image, center, axes, 0, 180, 360, painter.color(color, 0, light), -1)
        cv2.ellipse(painter.label, center, axes, 0, 180, 360, IGNORE, -1)
