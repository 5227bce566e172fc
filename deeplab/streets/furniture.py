"""Objects along the kerb: trees, lamp posts, signs, traffic lights."""

from __future__ import annotations

import numpy as np

from deeplab.streets.canvas import Canvas, Colour, smooth_noise
from deeplab.streets.classes import POLE, SIGN, TREE

GREY = np.array([0.30, 0.31, 0.32], np.float32)
SIGN_RED, SIGN_BLUE = (0.72, 0.08, 0.10), (0.08, 0.22, 0.62)
SIGN_WHITE, SIGN_YELLOW, SIGN_GREEN = (0.85, 0.85, 0.83), (0.85, 0.66, 0.10), (0.06, 0.38, 0.22)


def paint_tree(canvas: Canvas, x: float, z: float, crown_m: float, leaf: np.ndarray, density: float) -> None:
    """A trunk with a ragged crown, lit from above; with little density (winter) one sees through it."""
    rng, camera = canvas.rng, canvas.camera
    trunk_m = 1.2 + 0.8 * crown_m
    foot, fork = camera.project(x, 0.0, z), camera.project(x, trunk_m, z)
    scale = camera.pixels_per_m(z)
    bark = np.array([0.20, 0.15, 0.11], np.float32) * rng.uniform(0.6, 1.3)
    canvas.bar(foot, fork, 0.26 * scale * (0.6 + 0.2 * crown_m), bark, TREE, z)
    for _ in range(3 if scale > 12 else 0):
        tip = camera.project(x + rng.uniform(-0.6, 0.6) * crown_m, trunk_m + rng.uniform(0.3, 1.2) * crown_m, z)
        canvas.bar(fork, tip, 0.12 * scale, bark, TREE, z)

    middle = camera.project(x, trunk_m + 0.75 * crown_m, z)
    reach = crown_m * scale * 1.3
    box = canvas.box([(middle[0] - reach, middle[1] - reach), (middle[0] + reach, middle[1] + reach)])
    if box is None:
        return
    rows, columns = box
    dy = ((np.arange(rows.start, rows.stop) + 0.5 - middle[1]) / (crown_m * scale))[:, None]
    dx = ((np.arange(columns.start, columns.stop) + 0.5 - middle[0]) / (crown_m * scale))[None, :]
    shape = (rows.stop - rows.start, columns.stop - columns.start)
    lumps = smooth_noise(rng, *shape, int(np.clip(shape[0] / 6, 2, 7)))
    leaves = smooth_noise(rng, *shape, int(np.clip(shape[0] / 2.5, 2, 24))) if reach > 6 else canvas.grain[box]
    radius = dx * dx + 1.2 * dy * dy + 0.28 * lumps + 0.22 * leaves
    mask = (radius < 0.85) & (leaves + lumps > -2.6 * density)
    light = 0.85 - 0.35 * dy + 0.22 * lumps + 0.16 * leaves + 0.10 * canvas.grain[box]
    colour = leaf * np.clip(light, 0.25, 1.9)[..., None]
    canvas.paint(box, mask, colour, TREE, z, 0.05)


def paint_pole(canvas: Canvas, x: float, z: float, height_m: float, arm_m: float, lit: bool) -> None:
    """A lamp post whose arm (metres, signed) reaches over the road; arm 0 is a plain mast."""
    camera = canvas.camera
    tint = GREY * canvas.rng.uniform(0.5, 1.7)
    scale = camera.pixels_per_m(z)
    foot, top = camera.project(x, 0.0, z), camera.project(x, height_m, z)
    canvas.bar(foot, top, 0.20 * scale, tint, POLE, z)
    canvas.bar(foot, camera.project(x, 1.0, z), 0.32 * scale, tint, POLE, z)
    if arm_m:
        tip = camera.project(x + arm_m, height_m + 0.3, z)
        canvas.bar(top, tip, 0.09 * scale, tint, POLE, z)
        lamp = (1.6, 1.3, 0.8) if lit else tint * 1.3
        canvas.bar(tip, camera.project(x + arm_m * 1.4, height_m + 0.3, z), 0.20 * scale, lamp, POLE, z)


def paint_sign(canvas: Canvas, x: float, z: float, kind: str, height_m: float) -> None:
    """A traffic sign, direction board or traffic light on a post."""
    rng, camera = canvas.rng, canvas.camera
    scale = camera.pixels_per_m(z)
    canvas.bar(camera.project(x, 0.0, z), camera.project(x, height_m, z), 0.10 * scale, GREY, POLE, z)
    centre = camera.project(x, height_m, z - 0.05)

    def panel(half_width: float, half_height: float, colour: Colour) -> None:
        left, right = centre[0] - half_width * scale, centre[0] + half_width * scale
        top, bottom = centre[1] - half_height * scale, centre[1] + half_height * scale
        canvas.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour, SIGN, z)

    if kind == "light":
        panel(0.22, 0.55, (0.06, 0.06, 0.07))
        lit = rng.integers(3)
        lamps = ((1.3, 0.15, 0.10), (1.3, 0.8, 0.1), (0.15, 1.2, 0.45))
        for lamp in range(3):
            colour = lamps[lamp] if lamp == lit else (0.12, 0.12, 0.12)
            at = (centre[0], centre[1] + (lamp - 1) * 0.34 * scale)
            canvas.ellipse(at, (0.13 * scale, 0.13 * scale), colour, SIGN, z)
    elif kind == "board":
        panel(1.0, 0.6, SIGN_WHITE)
        panel(0.93, 0.53, SIGN_GREEN if rng.random() < 0.5 else SIGN_BLUE)
        panel(0.6, 0.07, SIGN_WHITE)
    elif kind == "triangle":
        for size, colour in ((0.5, SIGN_RED), (0.3, SIGN_WHITE)):
            corners = [(-size, 0.8 * size), (size, 0.8 * size), (0.0, -size)]
            points = [(centre[0] + a * scale, centre[1] + b * scale) for a, b in corners]
            canvas.polygon(points, colour, SIGN, z)
    elif kind == "round":
        canvas.ellipse(centre, (0.42 * scale, 0.42 * scale), SIGN_RED, SIGN, z)
        inner = SIGN_WHITE if rng.random() < 0.7 else SIGN_RED
        canvas.ellipse(centre, (0.28 * scale, 0.28 * scale), inner, SIGN, z)
        panel(0.2, 0.06, SIGN_WHITE if inner == SIGN_RED else (0.1, 0.1, 0.1))
    else:
        panel(0.38, 0.38, SIGN_BLUE if rng.random() < 0.6 else SIGN_YELLOW)
        panel(0.12, 0.25, SIGN_WHITE)
