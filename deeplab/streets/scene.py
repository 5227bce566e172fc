"""One street image: a plan of the street is drawn at random, then painted from far to near."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from deeplab.streets.canvas import SUPERSAMPLING, Camera, Canvas
from deeplab.streets.classes import VOID
from deeplab.streets.furniture import paint_pole, paint_sign, paint_tree
from deeplab.streets.light import Light, expose, sample_light
from deeplab.streets.surroundings import (
    Street,
    Wall,
    paint_ground,
    paint_sky,
    paint_skyline,
    paint_wall,
)
from deeplab.streets.traffic import paint_bicyclist, paint_pedestrian, paint_vehicle

Painter = Callable[[], None]
"""Paints one thing; the list of them is sorted by distance before any is called."""

FACADES = np.array(
    [
        (0.52, 0.27, 0.20),
        (0.62, 0.38, 0.27),
        (0.74, 0.66, 0.52),
        (0.80, 0.76, 0.68),
        (0.60, 0.60, 0.58),
        (0.45, 0.46, 0.49),
        (0.66, 0.58, 0.50),
        (0.55, 0.62, 0.68),
        (0.82, 0.82, 0.82),
        (0.40, 0.33, 0.28),
    ],
    np.float32,
)
LEAVES = np.array(
    [(0.20, 0.32, 0.12), (0.26, 0.38, 0.14), (0.16, 0.25, 0.13), (0.33, 0.36, 0.14), (0.45, 0.30, 0.12)], np.float32
)
CAR_PAINT = np.array(
    [
        (0.75, 0.75, 0.76),
        (0.50, 0.51, 0.53),
        (0.10, 0.10, 0.11),
        (0.86, 0.86, 0.85),
        (0.45, 0.07, 0.08),
        (0.10, 0.17, 0.38),
        (0.13, 0.27, 0.19),
        (0.58, 0.52, 0.42),
    ],
    np.float32,
)


def render(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (height, width, 3) and label uint8 (height, width) of one street, all drawn from `rng`."""
    rows, columns = height * SUPERSAMPLING, width * SUPERSAMPLING
    light = sample_light(rng)
    camera = Camera(
        focal_px=columns * rng.uniform(0.72, 1.0),
        centre_px=columns * rng.uniform(0.38, 0.62),
        horizon_px=rows * rng.uniform(0.36, 0.54),
        height_m=rng.uniform(1.25, 1.9),
        bend_per_m=float(rng.normal(0.0, 0.0009)),
    )
    canvas = Canvas(rows, columns, camera, rng)
    street = _sample_street(rng, light)
    paint_sky(canvas, light.zenith, light.horizon, light.clouds)
    paint_ground(canvas, street)
    paint_skyline(canvas, FACADES[rng.integers(len(FACADES))], rng.uniform(100, 160))

    things: list[tuple[float, Painter]] = []
    for side in (-1, 1):
        _line_the_street(things, canvas, street, light, side)
        _furnish_the_kerb(things, canvas, street, light, side)
    _add_traffic(things, canvas, street, light)
    for _, paint in sorted(things, key=lambda thing: -thing[0]):
        paint()

    label = canvas.label[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING].copy()
    image = expose(canvas, light, height, width)
    if rng.random() < 0.25:
        _lay_bonnet(image, label, rng, light)
    return image, label


def _sample_street(rng: np.random.Generator, light: Light) -> Street:
    grey = rng.uniform(0.22, 0.46)
    pale = grey + rng.uniform(-0.04, 0.22)  # a pavement may be as dark as the road
    crossing = rng.uniform(9, 40) if rng.random() < 0.4 else None
    right = rng.uniform(1.5, 4.4)
    left = -rng.uniform(3.2, 7.5)
    shadow = (0.0, 0)
    if light.sun_side:
        reach = rng.uniform(-1.0, 5.0)
        shadow = (right - reach, 1) if light.sun_side > 0 else (left + reach, -1)
    return Street(
        road_left_m=left,
        road_right_m=right,
        pavement_left_m=rng.uniform(2.0, 5.5),
        pavement_right_m=rng.uniform(2.0, 5.5),
        crossing_m=(crossing, crossing + rng.uniform(6, 10)) if crossing is not None else None,
        zebra_m=crossing - 4.0 if crossing is not None and rng.random() < 0.6 else None,
        road_colour=(grey * (1 + rng.uniform(-0.05, 0.05, 3))).astype(np.float32),
        pavement_colour=(pale * np.array([1.03, 1.0, 0.95]) * (1 + rng.uniform(-0.06, 0.06, 3))).astype(np.float32),
        slab_m=rng.uniform(0.8, 2.0),
        shadow=shadow,
        shadow_depth=rng.uniform(0.45, 0.7),
    )


def _edges(street: Street, side: int) -> tuple[float, float]:
    """X of the kerb and of the building line of a side, metres."""
    if side < 0:
        return street.road_left_m, street.road_left_m - street.pavement_left_m
    return street.road_right_m, street.road_right_m + street.pavement_right_m


def _in_crossing(street: Street, z: float, margin: float = 0.0) -> bool:
    return street.crossing_m is not None and street.crossing_m[0] - margin < z < street.crossing_m[1] + margin


def _line_the_street(
    things: list[tuple[float, Painter]], canvas: Canvas, street: Street, light: Light, side: int
) -> None:
    """Houses wall to wall, broken by gardens behind fences with trees, and by the crossing."""
    rng = canvas.rng
    _, line = _edges(street, side)
    shine = light.left if side < 0 else light.right
    z = rng.uniform(-12.0, 0.0)
    gardens = rng.uniform(0.15, 0.6)
    while z < 90.0:
        end = z + rng.uniform(7.0, 22.0)
        if street.crossing_m is not None and z < street.crossing_m[1] and end > street.crossing_m[0]:
            end = street.crossing_m[0]
            if z >= end - 1.0:
                z = street.crossing_m[1]
                continue
        setback = rng.uniform(0.0, 1.5)
        x = line + side * setback
        tint = (FACADES[rng.integers(len(FACADES))] * rng.uniform(0.75, 1.15, 1)).astype(np.float32)
        if rng.random() > gardens:
            kind = "shop" if rng.random() < 0.4 else "house"
            height, pitch = rng.uniform(5.5, 19.0), rng.uniform(1.7, 3.4)
            lit = rng.uniform(0.1, 0.5) if light.lamps else 0.03
            depth = rng.uniform(6.0, 12.0)
            for a, b, shade in (((x, z), (x, end), shine), ((x, z), (x + side * depth, z + 0.01), 0.85)):
                wall = Wall(a, b, height, tint, kind, shade, pitch, lit)
                things.append((max(a[1], b[1]) - 0.02, partial(paint_wall, canvas, wall)))
        else:
            kind = str(rng.choice(("fence", "railing", "brick")))
            wood = np.array([0.42, 0.30, 0.20]) if kind == "fence" else np.array([0.48, 0.26, 0.20])
            colour = np.array([0.16, 0.20, 0.17]) if kind == "railing" else wood * rng.uniform(0.6, 1.5)
            wall = Wall((line, z), (line, end), rng.uniform(0.9, 2.2), colour.astype(np.float32), kind, shine, 2.0, 0.0)
            things.append((max(z, 1.0) - 0.01, partial(paint_wall, canvas, wall)))
            for _ in range(rng.integers(1, 4)):
                at_z, at_x = rng.uniform(max(z, 2.0), max(end, 3.0)), line + side * rng.uniform(1.5, 7.0)
                _plant(things, canvas, at_x, at_z, rng.uniform(1.4, 3.6), shine)
            back = Wall(
                (line + side * 9, z), (line + side * 9, end), rng.uniform(5, 9), tint, "house", shine, 2.6, 0.05
            )
            things.append((end + 0.5, partial(paint_wall, canvas, back)))
        z = end


def _plant(
    things: list[tuple[float, Painter]], canvas: Canvas, x: float, z: float, crown_m: float, shine: float
) -> None:
    rng = canvas.rng
    leaf = LEAVES[rng.integers(len(LEAVES))] * rng.uniform(0.7, 1.3) * shine
    density = float(rng.choice((1.0, 1.0, 1.0, 0.25)))
    things.append((z, lambda: paint_tree(canvas, x, z, crown_m, leaf, density)))


def _furnish_the_kerb(
    things: list[tuple[float, Painter]], canvas: Canvas, street: Street, light: Light, side: int
) -> None:
    """Lamp posts at even distances, street trees, signs, people, and a row of parked cars."""
    rng = canvas.rng
    kerb, line = _edges(street, side)
    inside = kerb + side * 0.45
    shine = light.left if side < 0 else light.right
    z, step = rng.uniform(3.0, 16.0), rng.uniform(14.0, 28.0)
    height, arm = rng.uniform(4.5, 8.5), -side * float(rng.choice((0.0, 1.2, 1.8)))
    while z < 60.0:
        things.append((z, partial(paint_pole, canvas, inside, z, height, arm, light.lamps)))
        z += step
    if rng.random() < 0.45:
        z, step, crown = rng.uniform(4.0, 12.0), rng.uniform(7.0, 13.0), rng.uniform(1.2, 2.4)
        while z < 60.0:
            if not _in_crossing(street, z):
                _plant(things, canvas, inside + side * 0.4, z, crown * rng.uniform(0.8, 1.2), shine)
            z += step * rng.uniform(0.8, 1.2)
    for _ in range(rng.poisson(1.3)):
        z, kind = rng.uniform(4.5, 28.0), str(rng.choice(("round", "triangle", "square", "board", "light")))
        tall = rng.uniform(2.1, 3.2)
        things.append((z, partial(paint_sign, canvas, inside, z, kind, tall)))
    for _ in range(rng.poisson(2.0)):
        z, x = 3.5 + rng.exponential(8.0), rng.uniform(min(kerb, line) + 0.4, max(kerb, line) - 0.3)
        tall = rng.uniform(1.5, 1.9) if rng.random() < 0.85 else rng.uniform(1.0, 1.4)
        things.append((z, partial(paint_pedestrian, canvas, x, z, tall)))
    if rng.random() < 0.55:
        z = rng.uniform(3.0, 15.0)
        while z < 60.0:
            if rng.random() < 0.75 and not _in_crossing(street, z, 5.0):
                facing = "away" if (side > 0) == (rng.random() < 0.9) else "towards"
                _park(things, canvas, kerb - side * 1.15, z, facing, light)
            z += rng.uniform(5.2, 7.0)


def _park(things: list[tuple[float, Painter]], canvas: Canvas, x: float, z: float, facing: str, light: Light) -> None:
    rng = canvas.rng
    kind = rng.choice(3, p=(0.8, 0.14, 0.06))
    size = ((1.8, rng.uniform(3.7, 4.7), rng.uniform(1.38, 1.7)), (1.95, 5.2, 2.3), (2.5, 9.5, 3.0))[kind]
    paint = CAR_PAINT[rng.integers(len(CAR_PAINT))] * rng.uniform(0.85, 1.1)
    if facing == "across":
        size = (size[1], size[0], size[2])
    things.append((z, lambda: paint_vehicle(canvas, x, z, size, paint, facing, light.lamps)))


def _add_traffic(things: list[tuple[float, Painter]], canvas: Canvas, street: Street, light: Light) -> None:
    """Cars in both lanes, riders along the kerbs, traffic and people on the crossing."""
    rng = canvas.rng
    middle = (street.road_left_m + street.road_right_m) / 2
    for lane, facing in (((middle + street.road_right_m) / 2, "away"), ((middle + street.road_left_m) / 2, "towards")):
        z = rng.uniform(5.0, 30.0)
        while z < 80.0:
            if rng.random() < 0.5:
                _park(things, canvas, lane + rng.uniform(-0.3, 0.3), z, facing, light)
            z += rng.uniform(9.0, 30.0)
    for _ in range(rng.poisson(1.1)):
        z, side = 4.0 + rng.exponential(6.5), rng.choice((-1, 1))
        x = _edges(street, side)[0] - side * rng.uniform(0.4, 2.2)
        across = bool(rng.random() < 0.3)
        things.append((z, partial(paint_bicyclist, canvas, x, z, across)))
    if street.crossing_m is None:
        return
    near, far = street.crossing_m
    if rng.random() < 0.5:
        _park(things, canvas, rng.uniform(-10.0, 8.0), rng.uniform(near + 1.5, far - 2.0), "across", light)
    for _ in range(rng.poisson(0.8)):
        x, z = rng.uniform(street.road_left_m, street.road_right_m), near - rng.uniform(1.0, 4.0)
        things.append((z, partial(paint_pedestrian, canvas, x, z, 1.72)))
    if rng.random() < 0.3:
        x, z = rng.uniform(-6.0, 4.0), rng.uniform(near, far)
        things.append((z, lambda: paint_bicyclist(canvas, x, z, True)))


def _lay_bonnet(image: np.ndarray, label: np.ndarray, rng: np.random.Generator, light: Light) -> None:
    """The bonnet of our own car along the lower edge: void."""
    height, width = label.shape
    columns = np.linspace(-1.0, 1.0, width)
    edge = height * (1.0 - rng.uniform(0.05, 0.10) * (1.0 - 0.5 * columns**2))
    depth = (np.arange(height)[:, None] - edge[None, :]) / height
    bonnet = depth > 0
    paint = CAR_PAINT[rng.integers(len(CAR_PAINT))] * light.daylight
    shine = np.clip(1.3 - 6.0 * depth, 0.6, 1.3)[..., None] * paint
    image[bonnet] = np.clip(shine * 255, 0, 255).astype(np.uint8)[bonnet]
    label[bonnet] = VOID
