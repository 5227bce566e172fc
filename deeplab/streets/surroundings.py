"""Large static parts of a scene: sky, ground, house fronts, fences, the far skyline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deeplab.streets.canvas import NEAR_M, Canvas, Colour, smooth_noise
from deeplab.streets.classes import BUILDING, FENCE, PAVEMENT, ROAD, SKY, TREE

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
    """X beyond which (side -1 or +1 in the second number, 0 for none) the houses' shadow is on the ground."""
    shadow_depth: float
    """Light left in shadow, as a share."""


def paint_sky(canvas: Canvas, zenith: Colour, horizon: Colour, clouds: float) -> None:
    """A vertical gradient with soft clouds, down to the horizon."""
    canvas.label[:] = SKY
    rows = min(canvas.height, int(canvas.camera.horizon_px) + 6)
    reach = np.linspace(0.0, 1.0, rows, dtype=np.float32)[:, None, None] ** 0.8
    sky = np.asarray(zenith, np.float32) * (1 - reach) + np.asarray(horizon, np.float32) * reach
    cover = smooth_noise(canvas.rng, rows, canvas.width, 2)
    cover = cover + 0.5 * smooth_noise(canvas.rng, rows, canvas.width, 5)
    veil = np.clip((cover - 0.6 + 1.2 * clouds) * 0.8, 0.0, 1.0)[..., None] * np.float32(min(1.0, 2 * clouds))
    white = np.float32(0.92) * np.asarray(horizon, np.float32) ** 0.3
    canvas.colour[:rows] = sky + veil * (white - sky)


def paint_ground(canvas: Canvas, street: Street) -> None:
    """Road with its marks, kerbs and pavements with slabs, patches and shadows, pixel by pixel.

    Values that depend on the distance alone are computed once a row.
    """
    first, x, z = canvas.camera.ground(canvas.height, canvas.width)
    below = slice(first, canvas.height)
    grain, mottle = canvas.grain[below], canvas.mottle[below]
    left, right = street.road_left_m, street.road_right_m
    crossing = np.zeros_like(z, bool)
    if street.crossing_m is not None:
        crossing = (z > street.crossing_m[0]) & (z < street.crossing_m[1])
    on_road = ((x > left) & (x < right)) | crossing

    shade = 1.0 + 0.05 * mottle + 0.06 * grain
    shade[on_road & (mottle[:, ::-1] > 1.3)] *= 0.9  # patched asphalt
    joints = np.clip(canvas.camera.focal_px / z / 12.0, 0.0, 1.0) * 0.25  # fade where a pixel cannot resolve them
    slabs = (np.mod(x, np.float32(street.slab_m)) < 0.06) | (np.mod(z, street.slab_m) < 0.06)
    shade -= shade * joints * (slabs & ~on_road)
    colour = np.stack((street.pavement_colour, street.road_colour))[on_road.view(np.uint8)] * shade[..., None]

    dashes = np.mod(z, 6.0) < 3.2
    marks = (np.abs(x - (left + right) / 2) < MARK_WIDTH_M) & dashes
    for edge in (left + 0.32, right - 0.32):
        marks |= (np.abs(x - edge) < MARK_WIDTH_M / 2) & (mottle > -0.6)
    if street.zebra_m is not None:
        stripes = np.flatnonzero((z > street.zebra_m) & (z < street.zebra_m + 3.0))
        marks[stripes] |= np.mod(x[stripes], 1.0) < 0.5
    marks &= on_road
    worn = np.clip(0.75 + 0.2 * mottle[marks], 0.2, 0.95)[:, None]
    colour[marks] += worn * (WHITE - colour[marks])
    kerb = ((np.abs(x - left + 0.01) < 0.11) | (np.abs(x - right - 0.01) < 0.11)) & ~crossing
    colour[kerb] = colour[kerb] * 0.5 + 0.30

    at_m, side = street.shadow
    if side:
        colour[side * (x - at_m) + 0.15 * mottle > 0] *= street.shadow_depth
    canvas.colour[below] = colour
    canvas.label[below] = np.where(on_road, np.uint8(ROAD), np.uint8(PAVEMENT))
    canvas.depth[below] = z


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
    glass = np.array([0.10, 0.13, 0.17]) + 0.25 * rng.random((8, 8, 1)) * np.array([0.8, 0.95, 1.1])
    glass[rng.random((8, 8)) < wall.lit] = (1.0, 0.82, 0.45)
    awning = rng.uniform(0.1, 0.8, 3)
    frame = wall.colour * 0.6 + 0.3 * (0.2 + wall.colour)
    plain = (wall.colour, frame, (0.14, 0.16, 0.18), awning, awning * rng.uniform(0.6, 1.0))
    materials = np.concatenate((np.array(plain), glass.reshape(64, 3))).astype(np.float32)

    storeys, bays = up / np.float32(STOREY_M), along / np.float32(wall.pitch_m)
    storey, bay = np.floor(storeys), np.floor(bays)
    above, across = np.abs(storeys - storey - 0.575), np.abs(bays - bay - 0.52)
    below_cornice = up < wall.height_m - 0.8
    material = np.zeros(up.shape, np.intp)
    material[(across < 0.30) & (above < 0.305) & below_cornice] = 1
    window = (across < 0.24) & (above < 0.245) & below_cornice
    material[window] = (5 + np.mod(storey[window], 8) * 8 + np.mod(bay[window], 8)).astype(np.intp)
    if wall.kind == "shop":
        ground = np.flatnonzero((up < STOREY_M).any(axis=1))
        if ground.size:
            low = slice(ground[0], None)
            height, place = up[low], along[low]
            material[low][(height < STOREY_M) & (np.mod(place, 2.4) > 0.2) & (height > 0.5)] = 2
            cloth = (height > 2.3) & (height < STOREY_M)
            material[low][cloth] = 3 + (np.mod(place[cloth], 1.0) < 0.5)
    shade = np.where(np.mod(up, 0.5) < 0.08, np.float32(0.93), np.float32(1.0))
    shade[up > wall.height_m - 0.5] *= 0.7
    shade[up < 0.5] *= 0.75
    return materials[material] * shade[..., None], mask


def _fence(
    canvas: Canvas, wall: Wall, along: np.ndarray, up: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boards with gaps, a railing seen through (objects behind it keep their labels there), or a brick garden wall."""
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
