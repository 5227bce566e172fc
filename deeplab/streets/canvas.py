"""The painter's canvas: a pinhole camera over a flat street, and polygons laid over one another from far to near."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SUPERSAMPLING = 2
"""Canvas pixels per image pixel and axis: edges and thin things come out soft, as a lens draws them."""
NEAR_M = 0.9
"""Nothing nearer than this is drawn (metres along the view)."""
FAR_M = 400.0

Point = tuple[float, float]
Colour = tuple[float, float, float] | np.ndarray
"""RGB in [0, 1] of reflected light, before weather and sensor."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks along the street; every length in metres, every position in canvas pixels.

    X runs right, Y up from the ground, Z forward. The street bends as a parabola: at distance Z it is
    `bend_per_m * Z**2` to the right.
    """

    focal_px: float
    centre_px: float
    horizon_px: float
    height_m: float
    bend_per_m: float

    def project(self, x: float, y: float, z: float) -> Point:
        """(column, row) of a point of the street; z >= NEAR_M."""
        column = self.centre_px + self.focal_px * (x / z + self.bend_per_m * z)
        return column, self.horizon_px + self.focal_px * (self.height_m - y) / z

    def pixels_per_m(self, z: float) -> float:
        return self.focal_px / z

    def ground(self, height: int, width: int) -> tuple[int, np.ndarray, np.ndarray]:
        """First row below the horizon, and X (rows, width) and Z (rows, 1) in metres of every ground pixel below."""
        first = min(height - 1, max(0, int(np.ceil(self.horizon_px + self.focal_px * self.height_m / FAR_M))))
        rows = np.arange(first, height, dtype=np.float32)[:, None] + 0.5
        z = self.focal_px * self.height_m / np.maximum(rows - self.horizon_px, 1e-3)
        columns = np.arange(width, dtype=np.float32)[None, :] + 0.5
        return first, (columns - self.centre_px) * z / self.focal_px - self.bend_per_m * z * z, z


class Canvas:
    """Colour (height, width, 3) float32, label (height, width) uint8 and depth (height, width) float32 in metres."""

    def __init__(self, height: int, width: int, camera: Camera, rng: np.random.Generator) -> None:
        self.height, self.width, self.camera, self.rng = height, width, camera, rng
        self.colour = np.zeros((height, width, 3), np.float32)
        self.label = np.zeros((height, width), np.uint8)
        self.depth = np.full((height, width), FAR_M, np.float32)
        self.grain = rng.standard_normal((height, width), np.float32)
        """White noise, one value a canvas pixel: the finest texture."""
        self.mottle = smooth_noise(rng, height, width, 12) + 0.6 * smooth_noise(rng, height, width, 30)
        """Blotches of about a twelfth and a thirtieth of the image's height."""
        self._textures: dict[float, np.ndarray] = {}
        self._stencil = np.zeros((height, width), np.uint8)
        """Mask that a polygon is filled into, from its corner on; `_pencil` draws into the same memory."""
        shared = Image.frombuffer("L", (width, height), self._stencil, "raw", "L", 0, 1)
        shared.readonly = 0
        self._pencil = ImageDraw.Draw(shared)

    def box(self, points: list[Point]) -> tuple[slice, slice] | None:
        """Rows and columns of the canvas that hold the points; None where they are outside it."""
        columns, rows = (
            [x for x, _ in points],
            [y for _, y in points],
        )  # plain min and max: faster than an array of four
        left, top = max(int(min(columns)), 0), max(int(min(rows)), 0)
        right, bottom = min(int(max(columns)) + 2, self.width), min(int(max(rows)) + 2, self.height)
        return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None

    def polygon(self, points: list[Point], colour: Colour, class_id: int | None, z: float, grain: float = 0.03) -> None:
        """Fill a polygon. class_id None tints the pixels and leaves their labels (a shadow, a reflection)."""
        box = self.box(points)
        if box is None:
            return
        rows, columns = box
        width, height = columns.stop - columns.start, rows.stop - rows.start
        self._stencil.fill(0)
        self._pencil.polygon([(x - columns.start, y - rows.start) for x, y in points], fill=1)
        self.paint(box, self._stencil[:height, :width].view(bool), colour, class_id, z, grain)

    def ellipse(self, centre: Point, radii: Point, colour: Colour, class_id: int | None, z: float) -> None:
        (x, y), (a, b) = centre, (max(radii[0], 0.8), max(radii[1], 0.8))
        box = self.box([(x - a, y - b), (x + a, y + b)])
        if box is None:
            return
        rows, columns = box
        dy = (np.arange(rows.start, rows.stop) + 0.5 - y)[:, None] / b
        dx = (np.arange(columns.start, columns.stop) + 0.5 - x)[None, :] / a
        self.paint(box, dx * dx + dy * dy <= 1.0, colour, class_id, z, 0.03)

    def bar(self, start: Point, end: Point, thickness: float, colour: Colour, class_id: int, z: float) -> None:
        """A straight bar; never thinner than 1.4 image pixels, so that labelled objects can be seen."""
        half = max(thickness, SUPERSAMPLING * 1.4) / 2
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = max(float(np.hypot(dx, dy)), 1e-6)
        ox, oy = -dy / length * half, dx / length * half
        corners = [(start[0] + ox, start[1] + oy), (end[0] + ox, end[1] + oy)]
        corners += [(end[0] - ox, end[1] - oy), (start[0] - ox, start[1] - oy)]
        self.polygon(corners, colour, class_id, z)

    def paint(
        self, box: tuple[slice, slice], mask: np.ndarray, colour: Colour, class_id: int | None, z: float, grain: float
    ) -> None:
        """Lay a colour, (3,) or (box height, box width, 3), over the masked pixels of a box, with grain on it."""
        target = self.colour[box]
        if class_id is None:
            target[mask] *= np.asarray(colour, np.float32)
            return
        if grain not in self._textures:
            self._textures[grain] = (1.0 + grain * self.grain + 0.05 * self.mottle)[..., None]
        np.copyto(target, self._textures[grain][box] * np.asarray(colour, np.float32), where=mask[..., None])
        np.copyto(self.label[box], class_id, where=mask)
        np.copyto(self.depth[box], z, where=mask)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Noise (height, width) float32 of about unit spread, smooth over a height / cells: a random grid, enlarged."""
    grid = rng.standard_normal((cells + 1, max(2, round(cells * width / max(height, 1)) + 1))).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))
