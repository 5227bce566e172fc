"""Moving objects: cars, vans and buses as boxes with wheels and glass; people on foot and on bicycles."""

from __future__ import annotations

import itertools

import numpy as np

from deeplab.streets.canvas import NEAR_M, Canvas, Colour, Point
from deeplab.streets.classes import BICYCLIST, CAR, PEDESTRIAN

TYRE, GLASS = (0.05, 0.05, 0.05), np.array([0.13, 0.16, 0.19], np.float32)
SKIN = ((0.80, 0.62, 0.50), (0.62, 0.44, 0.32), (0.36, 0.25, 0.19))


def paint_vehicle(
    canvas: Canvas, x: float, z: float, size_m: tuple[float, float, float], paint: np.ndarray, facing: str, lit: bool
) -> None:
    """A vehicle whose nearest face is at Z = z, centred at x.

    size_m: extent along X, along Z, and height. facing: `away` (rear seen), `towards` (front seen) or `across`.
    """
    camera = canvas.camera
    z = max(z, NEAR_M + 0.2)
    width, length, height = size_m
    left, right, back = x - width / 2, x + width / 2, z + length
    tall = height > 1.9
    waist, inset = (0.95, 0.05) if tall else (0.62 * height, 0.16)
    detailed = camera.pixels_per_m(z) > 7.0  # farther off, lamps and wheels are smaller than a pixel
    side = left if camera.project(left, 0, z)[0] > camera.project(left, 0, back)[0] else None
    if camera.project(right, 0, z)[0] < camera.project(right, 0, back)[0]:
        side = right

    def quad(corners: list[tuple[float, float, float]], colour: Colour) -> None:
        canvas.polygon([camera.project(*corner) for corner in corners], colour, CAR, z)

    margin = 0.25
    footprint = [(left - margin, z - 0.2), (right + margin, z - 0.2), (right + margin, back), (left - margin, back)]
    canvas.polygon([camera.project(a, 0.0, b) for a, b in footprint], (0.45, 0.45, 0.47), None, z)

    front_cut, rear_cut = (0.1, 0.1) if tall else (0.15 * length, 0.22 * length)
    if facing == "towards" and not tall:
        front_cut, rear_cut = rear_cut, front_cut
    inward = 0 if side is None else (inset if side == left else -inset)
    if side is not None:
        quad([(side, 0.3, z), (side, 0.3, back), (side, waist, back), (side, waist, z)], paint * 0.72)
    quad([(left, waist, z), (right, waist, z), (right, waist, back), (left, waist, back)], paint * 1.12)
    if side is not None:
        top = side + inward
        near, far = z + front_cut, back - rear_cut
        quad(
            [(side, waist, near), (side, waist, far), (top, height, far - 0.3), (top, height, near + 0.3)], paint * 0.8
        )
        a, b = waist + 0.12 * (height - waist), height - 0.18 * (height - waist)
        middle = (near + far) / 2
        for start, end in (
            ((near + 0.35, far - 0.35),)
            if not detailed
            else ((near + 0.35, middle - 0.06), (middle + 0.06, far - 0.35))
        ):
            pane = side + 0.4 * inward
            quad([(pane, a, start), (pane, a, end), (pane, b, end), (pane, b, start)], GLASS)
        for at in (z + 0.19 * length, back - 0.19 * length) if detailed else ():
            across = abs(camera.project(side, 0, at + 0.33)[0] - camera.project(side, 0, max(at - 0.33, NEAR_M))[0]) / 2
            radius = 0.33 * camera.pixels_per_m(at)
            _wheel(canvas, camera.project(side, 0.32, at), radius, squeeze=min(across / radius, 1.0), z=z)

    if facing == "across":
        _side_view(canvas, (left, right), z, height, waist, paint)
        return
    quad([(left, 0.28, z), (right, 0.28, z), (right, waist, z), (left, waist, z)], paint)
    for edge in (left + 0.12, right - 0.34) if detailed else ():
        quad([(edge, 0.0, z), (edge + 0.22, 0.0, z), (edge + 0.22, 0.4, z), (edge, 0.4, z)], TYRE)
    screen = [(left + 0.05, waist, z + front_cut), (right - 0.05, waist, z + front_cut)]
    screen += [(right - inset, height, z + front_cut + 0.3), (left + inset, height, z + front_cut + 0.3)]
    quad(screen, paint * 0.9)
    inner = [(left + 0.17, waist + 0.08, z + front_cut), (right - 0.17, waist + 0.08, z + front_cut)]
    top = height - 0.14 * (height - waist)
    quad([*inner, (right - inset - 0.1, top, z + front_cut), (left + inset + 0.1, top, z + front_cut)], GLASS)
    if not detailed:
        return
    lamp = (
        ((1.5, 1.4, 1.1) if lit else (0.75, 0.75, 0.7)) if facing == "towards" else (1.3 if lit else 0.55, 0.05, 0.05)
    )
    for edge in (left + 0.06, right - 0.38):
        low, high = 0.62 * waist, 0.85 * waist
        quad([(edge, low, z), (edge + 0.32, low, z), (edge + 0.32, high, z), (edge, high, z)], lamp)
    quad([(x - 0.25, 0.4, z), (x + 0.25, 0.4, z), (x + 0.25, 0.52, z), (x - 0.25, 0.52, z)], (0.75, 0.75, 0.65))


def _side_view(
    canvas: Canvas, ends: tuple[float, float], z: float, height: float, waist: float, paint: np.ndarray
) -> None:
    """The long side of a vehicle that crosses the view, straight on."""
    (left, right), camera = ends, canvas.camera
    length = right - left

    def face(points: list[Point], colour: Colour) -> None:
        canvas.polygon([camera.project(left + a * length, b, z) for a, b in points], colour, CAR, z)

    face([(0, 0.3), (1, 0.3), (1, 0.9 * waist), (0.75, waist), (0, waist)], paint * 0.9)
    cabin = (0.02, 0.04, 0.97, 0.99) if height > 1.9 else (0.05, 0.2, 0.62, 0.78)
    face([(cabin[0], waist), (cabin[1], height), (cabin[2], height), (cabin[3], waist)], paint * 0.9)
    top = height - 0.1
    face([(cabin[0] + 0.05, waist), (cabin[1] + 0.02, top), (cabin[2] - 0.02, top), (cabin[3] - 0.04, waist)], GLASS)
    for at in (0.19, 0.81):
        centre = camera.project(left + at * length, 0.32, z)
        _wheel(canvas, centre, 0.34 * camera.pixels_per_m(z), squeeze=1.0, z=z)


def _wheel(canvas: Canvas, centre: Point, radius: float, squeeze: float, z: float) -> None:
    canvas.ellipse(centre, (radius * squeeze, radius), TYRE, CAR, z)
    canvas.ellipse(centre, (0.5 * radius * squeeze, 0.5 * radius), (0.4, 0.4, 0.42), CAR, z)


def paint_pedestrian(canvas: Canvas, x: float, z: float, height_m: float) -> None:
    """A walking person in random clothes, arms and legs mid-step."""
    rng = canvas.rng
    coat, trousers = _clothes(rng), _clothes(rng) * 0.7
    step = rng.uniform(-0.28, 0.28)
    body = _Figure(canvas, x, z, height_m / 1.75, PEDESTRIAN)
    body.shadow()
    body.limb((0.04, 0.85), (step, 0.03), 0.17, trousers)
    body.limb((-0.04, 0.85), (-step, 0.03), 0.17, trousers)
    if body.pixels > 8.0:
        body.limb((-0.19, 1.40), (-0.2 + step * 0.6, 0.85), 0.11, coat * 0.85)
        body.limb((0.19, 1.40), (0.2 - step * 0.6, 0.85), 0.11, coat * 0.9)
    body.shape([(-0.21, 1.44), (0.21, 1.44), (0.18, 0.78), (-0.18, 0.78)], coat)
    if rng.random() < 0.3:
        body.shape([(-0.33, 1.1), (-0.15, 1.1), (-0.15, 0.7), (-0.33, 0.7)], _clothes(rng))
    _head(body, 0.0, 1.60)


def paint_bicyclist(canvas: Canvas, x: float, z: float, across: bool) -> None:
    """A rider with the bicycle, seen from behind or from the side (`across`)."""
    rng = canvas.rng
    coat, trousers, frame = _clothes(rng), _clothes(rng) * 0.7, _clothes(rng)
    lean = rng.choice((-1.0, 1.0))
    body = _Figure(canvas, x, z, 1.0, BICYCLIST)
    body.shadow()
    if across:
        for hub in (-0.55, 0.55):
            body.ring((hub, 0.35), 0.35)
        body.limb((-0.55, 0.35), (-0.1 * lean, 0.75), 0.06, frame)
        body.limb((-0.1 * lean, 0.75), (0.4 * lean, 0.85), 0.06, frame)
        body.limb((0.4 * lean, 0.95), (0.55 * lean, 0.35), 0.06, frame)
        body.limb((0.0, 0.35), (-0.15 * lean, 0.85), 0.06, frame)
        body.limb((-0.15 * lean, 0.95), (0.15 * lean, 0.62), 0.18, trousers)
        body.limb((0.15 * lean, 0.62), (0.02, 0.22), 0.14, trousers)
        body.limb((-0.15 * lean, 0.92), (0.16 * lean, 1.42), 0.34, coat)
        body.limb((0.16 * lean, 1.36), (0.42 * lean, 0.98), 0.11, coat * 0.9)
        _head(body, 0.24 * lean, 1.62)
        return
    body.limb((0.0, 0.02), (0.0, 0.75), 0.10, TYRE)
    body.limb((-0.27, 1.0), (0.27, 1.0), 0.06, frame)
    body.limb((-0.1, 0.9), (-0.13, 0.3), 0.16, trousers)
    body.limb((0.1, 0.9), (0.13, 0.42), 0.16, trousers)
    body.limb((-0.2, 1.4), (-0.3, 1.02), 0.11, coat * 0.9)
    body.limb((0.2, 1.4), (0.3, 1.02), 0.11, coat * 0.9)
    body.shape([(-0.22, 1.46), (0.22, 1.46), (0.17, 0.85), (-0.17, 0.85)], coat)
    _head(body, 0.0, 1.64)


class _Figure:
    """Draws in metres on an upright plane at (x, z): right of the feet, above the ground."""

    def __init__(self, canvas: Canvas, x: float, z: float, scale: float, class_id: int) -> None:
        self.canvas, self.x, self.z, self.scale, self.class_id = canvas, x, z, scale, class_id
        self.pixels = canvas.camera.pixels_per_m(z) * scale

    def at(self, point: Point) -> Point:
        return self.canvas.camera.project(self.x + point[0] * self.scale, point[1] * self.scale, self.z)

    def limb(self, start: Point, end: Point, thickness_m: float, colour: Colour) -> None:
        self.canvas.bar(self.at(start), self.at(end), thickness_m * self.pixels, colour, self.class_id, self.z)

    def shape(self, points: list[Point], colour: Colour) -> None:
        self.canvas.polygon([self.at(point) for point in points], colour, self.class_id, self.z)

    def disc(self, centre: Point, radius_m: float, colour: Colour) -> None:
        radius = radius_m * self.pixels
        self.canvas.ellipse(self.at(centre), (radius, radius), colour, self.class_id, self.z)

    def ring(self, centre: Point, radius_m: float) -> None:
        turn = np.linspace(0, 2 * np.pi, 11 if self.pixels > 16.0 else 7)
        rim = [(centre[0] + radius_m * np.cos(a), centre[1] + radius_m * np.sin(a)) for a in turn]
        for start, end in itertools.pairwise(rim):
            self.limb(start, end, 0.06, TYRE)

    def shadow(self) -> None:
        camera, canvas = self.canvas.camera, self.canvas
        corners = [(-0.35, -0.15), (0.35, -0.15), (0.45, 0.35), (-0.25, 0.35)]
        points = [camera.project(self.x + a, 0.0, max(self.z + b, NEAR_M)) for a, b in corners]
        canvas.polygon(points, (0.6, 0.6, 0.62), None, self.z)


def _head(body: _Figure, across: float, up: float) -> None:
    rng = body.canvas.rng
    body.disc((across, up + 0.03), 0.13, np.array((0.12, 0.09, 0.07)) * rng.uniform(0.5, 3.0))
    body.disc((across, up - 0.01), 0.11, SKIN[rng.integers(3)])


def _clothes(rng: np.random.Generator) -> np.ndarray:
    """Dark or greyish for most, bright for some."""
    if rng.random() < 0.65:
        return (rng.uniform(0.06, 0.4) + rng.uniform(-0.05, 0.05, 3)).clip(0.03, 1.0).astype(np.float32)
    return rng.uniform(0.1, 0.85, 3).astype(np.float32)
