"""What stands still and is large: sky, ground, house fronts, fences, the far skyline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeplab.datasets.streets.canvas import NEAR_M, Canvas, Colour, smooth_noise
from deeplab.datasets.streets.classes import BUILDING, FENCE, PAVEMENT, ROAD, SKY, TREE

STOREY_M = 3.0
MARK_WIDTH_M = 0.14
WHITE = np.array([0.80, 0.80, 0.77], np.float32)


@dataclass(frozen=True)
class Street:
    """The plan of a street; lengths in metres, X of the edges relative to the camera."""

    road_left_m: float
    road_right_m: float
    pavement_left_m: float
    """Width of the pavement on the left."""
    pavement_right_m: float
    crossing_m: tuple[float, float] | None
    """From where to where (Z) another road crosses, if any."""
    zebra_m: float | None
    """Z where a zebra crossing starts, if any."""
    road_colour: np.ndarray
    pavement_colour: np.ndarray
    slab_m: float
    """Size of the pavement's slabs."""
    shadow: tuple[float, float]
    """X beyond which (side -1 or +1 in the second number, 0 for none) the houses' shadow lies on the ground."""
    shadow_depth: float
    """Light left in shadow, as a share."""


def paint_sky(canvas: Canvas, zenith: Colour, horizon: Colour, clouds: float) -> None:
    """A vertical gradient with soft clouds, over the whole canvas."""
    down = np.linspace(0.0, 1.0, canvas.height, dtype=np.float32)[:, None, None] ** 0.8
    reach = np.clip(down * canvas.height / max(canvas.camera.horizon_px, 1.0), 0.0, 1.0)
    sky = np.asarray(zenith, np.float32) * (1 - reach) + np.asarray(horizon, np.float32) * reach
    cover = smooth_noise(canvas.rng, canvas.height, canvas.width, 3)
    cover = cover + 0.5 * smooth_noise(canvas.rng, canvas.height, canvas.width, 9)
    veil = np.clip((cover - 0.6 + 1.2 * clouds) * 0.8, 0.0, 1.0)[..., None] * min(1.0, 2 * clouds)
    canvas.colour[:] = sky * (1 - veil) + np.float32(0.92) * veil * np.asarray(horizon, np.float32) ** 0.3
    canvas.label[:] = SKY


def paint_ground(canvas: Canvas, street: Street) -> None:
    """Road with its marks, kerbs and pavements with slabs, patches, cracks and shadows, pixel by pixel."""
    first, x, z = canvas.camera.ground(canvas.height, canvas.width)
    z = np.broadcast_to(z, x.shape)
    below = slice(first, canvas.height)
    on_road = (x > street.road_left_m) & (x < street.road_right_m)
    if street.crossing_m is not None:
        on_road |= (z > street.crossing_m[0]) & (z < street.crossing_m[1])
    metre_px = canvas.camera.focal_px / z
    fine = np.clip(metre_px / 12.0, 0.0, 1.0)  # fades what a pixel can no longer resolve
    grain, mottle = canvas.grain[below], canvas.mottle[below]

    shade = 1.0 + 0.05 * mottle + 0.06 * grain
    patch = np.sin(x * 0.9 + z * 0.13 + mottle) * np.sin(z * 0.31 + mottle[:, ::-1])
    shade = shade * np.where(on_road & (patch > 0.8), 0.9, 1.0)
    slabs = (np.mod(x, street.slab_m) < 0.06) | (np.mod(z, street.slab_m) < 0.06)
    shade = shade * np.where(~on_road & slabs, 1.0 - 0.25 * fine, 1.0)
    colour = np.where(on_road[..., None], street.road_colour, street.pavement_colour) * shade[..., None]

    lane = np.mod(x - street.road_left_m, (street.road_right_m - street.road_left_m) / 2)
    middle = np.abs(x - (street.road_left_m + street.road_right_m) / 2) < MARK_WIDTH_M
    marks = on_road & middle & (np.mod(z, 6.0) < 3.2)
    marks |= on_road & (lane > 0.25) & (lane < 0.25 + MARK_WIDTH_M) & (mottle > -0.6)
    if street.zebra_m is not None:
        inside = (z > street.zebra_m) & (z < street.zebra_m + 3.0)
        marks |= on_road & inside & (np.mod(x, 1.0) < 0.5)
    worn = np.clip(0.75 + 0.2 * mottle, 0.2, 0.95)[..., None]
    colour = np.where(marks[..., None], colour * (1 - worn) + WHITE * worn, colour)
    for edge in (street.road_left_m, street.road_right_m):
        kerb = (np.abs(x - edge) < 0.12) & ~((x > street.road_left_m + 0.1) & (x < street.road_right_m - 0.1))
        if street.crossing_m is not None:
            kerb &= (z < street.crossing_m[0]) | (z > street.crossing_m[1])
        colour = np.where(kerb[..., None], colour * 0.5 + 0.30, colour)

    at_m, side = street.shadow
    if side:
        dark = side * (x - at_m) + 0.15 * mottle > 0
        colour = np.where(dark[..., None], colour * street.shadow_depth, colour)
    canvas.colour[below] = colour
    canvas.label[below] = np.where(on_road, ROAD, PAVEMENT)
    canvas.depth[below] = np.minimum(z, canvas.depth[below])


@dataclass(frozen=True)
class Wall:
    """An upright wall from (x, z) to (x, z) in metres, seen from its street side."""

    start_m: tuple[float, float]
    end_m: tuple[float, float]
    height_m: float
    colour: np.ndarray
    kind: str
    """house, shop (a house with a glazed ground floor), fence, railing, hedge-like or brick garden wall."""
    light: float
    """Light that falls on this side, as a share."""
    pitch_m: float
    """Distance of one window or post to the next."""
    lit: float
    """Share of the windows with a lamp behind them."""

    @property
    def depth_m(self) -> float:
        return max(min(self.start_m[1], self.end_m[1]), NEAR_M)


def paint_wall(canvas: Canvas, wall: Wall) -> None:
    """A wall in perspective: along it 1 / Z is linear in the column, up it the height is linear in the row."""
    (x1, z1), (x2, z2) = wall.start_m, wall.end_m
    if max(z1, z2) <= NEAR_M:
        return
    if min(z1, z2) < NEAR_M:
        share = (NEAR_M - z1) / (z2 - z1)
        cut = (x1 + share * (x2 - x1), NEAR_M)
        (x1, z1), (x2, z2) = (cut, (x2, z2)) if z1 < z2 else ((x1, z1), cut)
    camera = canvas.camera
    u1, u2 = camera.project(x1, 0.0, z1)[0], camera.project(x2, 0.0, z2)[0]
    if abs(u2 - u1) < 1.0:
        return
    tops = [camera.project(x1, wall.height_m, z1), camera.project(x2, wall.height_m, z2)]
    box = canvas.box([*tops, camera.project(x1, 0.0, z1), camera.project(x2, 0.0, z2)])
    if box is None:
        return
    rows, columns = box
    t = np.clip((np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - u1) / (u2 - u1), 0.0, 1.0)
    z = 1.0 / (1.0 / z1 + t * (1.0 / z2 - 1.0 / z1))
    along = np.hypot(x2 - x1, z2 - z1) * t * z / z2  # perspective-correct distance from the start, metres
    row = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + 0.5
    up = camera.height_m - (row - camera.horizon_px) * z[None, :] / camera.focal_px
    mask = (up >= 0.0) & (up <= wall.height_m)
    along = np.broadcast_to(along[None, :], up.shape)
    paint = _fence if wall.kind in ("fence", "railing", "brick") else _facade
    colour, mask = paint(canvas, wall, along, up, mask)
    class_id = FENCE if paint is _fence else BUILDING
    canvas.paint(box, mask, colour * wall.light, class_id, 0.0, 0.04)
    canvas.depth[box][mask] = np.broadcast_to(z[None, :], up.shape)[mask]


def _facade(
    canvas: Canvas, wall: Wall, along: np.ndarray, up: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Windows in rows and columns, a cornice, a plinth; a shop has glass and an awning on its ground floor."""
    rng = canvas.rng
    colour = np.broadcast_to(wall.colour, (*up.shape, 3)).copy()
    courses = (np.mod(up, 0.5) < 0.08) & (up < wall.height_m)
    colour[courses] *= 0.93
    storey, bay = np.floor(up / STOREY_M).astype(int), np.floor(along / wall.pitch_m).astype(int)
    across, above = along / wall.pitch_m - bay, up / STOREY_M - storey
    window = (across > 0.28) & (across < 0.76) & (above > 0.33) & (above < 0.82) & (up < wall.height_m - 0.8)
    frame = (across > 0.22) & (across < 0.82) & (above > 0.27) & (above < 0.88) & (up < wall.height_m - 0.8)
    glass = np.array([0.10, 0.13, 0.17]) + 0.25 * rng.random((8, 8, 1)) * np.array([0.8, 0.95, 1.1])
    glass[rng.random((8, 8)) < wall.lit] = (1.0, 0.82, 0.45)
    colour[frame] = colour[frame] * 0.6 + 0.3 * (0.2 + wall.colour)
    colour[window] = glass[storey % 8, bay % 8][window].astype(np.float32)
    if wall.kind == "shop":
        ground = up < STOREY_M
        colour[ground & (np.mod(along, 2.4) > 0.2) & (up > 0.5) & (up < 2.3)] = (0.14, 0.16, 0.18)
        awning = ground & (up > 2.3)
        colour[awning] = np.array(rng.uniform(0.1, 0.8, 3), np.float32)
        colour[awning & (np.mod(along, 1.0) < 0.5)] *= rng.uniform(0.6, 1.0)
    colour[(up > wall.height_m - 0.5)] *= 0.7
    colour[(up < 0.5)] *= 0.75
    return colour, mask


def _fence(
    canvas: Canvas, wall: Wall, along: np.ndarray, up: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boards with gaps, a railing seen through (what is behind keeps its label there), or a brick garden wall."""
    colour = np.broadcast_to(wall.colour, (*up.shape, 3)).copy()
    if wall.kind == "brick":
        course = np.floor(up / 0.25)
        joint = (np.mod(up, 0.25) < 0.05) | (np.mod(along + 0.25 * course, 0.5) < 0.05)
        colour[joint] = colour[joint] * 0.5 + 0.25
        colour[up > wall.height_m - 0.15] *= 1.2
        return colour, mask
    post = np.mod(along, 2.0) < 0.15
    rail = (np.abs(up - 0.25 * wall.height_m) < 0.06) | (np.abs(up - 0.85 * wall.height_m) < 0.06)
    board = np.mod(along, wall.pitch_m / 10) < wall.pitch_m / 10 * 0.7
    colour[~board & ~rail & ~post] *= 0.35
    colour[rail] *= 0.85
    return colour, mask


def paint_skyline(canvas: Canvas, colour: np.ndarray, z: float) -> None:
    """Houses and woods far off that close the view; steps of random height along the horizon."""
    rng, camera = canvas.rng, canvas.camera
    ground_row = camera.horizon_px + camera.focal_px * camera.height_m / z
    column = 0.0
    while column < canvas.width:
        step = canvas.width * rng.uniform(0.04, 0.14)
        woods = rng.random() < 0.4
        top = ground_row - camera.pixels_per_m(z) * rng.uniform(4.0, 11.0 if woods else 20.0)
        if woods:
            green = np.array([0.16, 0.24, 0.12], np.float32) * rng.uniform(0.7, 1.3)
            middle = ((column + step / 2), (top + ground_row) / 2)
            canvas.ellipse(middle, (step * 0.75, (ground_row - top) / 2 + 2), green, TREE, z)
        else:
            tint = (colour * rng.uniform(0.7, 1.15)).astype(np.float32)
            corners = [(column, top), (column + step, top), (column + step, ground_row), (column, ground_row)]
            canvas.polygon(corners, tint, BUILDING, z, 0.08)
        column += step * rng.uniform(0.7, 1.1)
