"""Weather and sensor: from reflected light to the uint8 image a cheap camera would deliver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from deeplab.streets.canvas import SUPERSAMPLING, Canvas
from deeplab.streets.classes import SKY


@dataclass(frozen=True)
class Light:
    """The light of one image, as the scene and the sensor need it."""

    daylight: float
    """Exposure times light: about 1.2 by day, 0.4 at dusk."""
    cast: np.ndarray
    """Gain of R, G, B."""
    zenith: np.ndarray
    horizon: np.ndarray
    """Colours of the sky, RGB."""
    clouds: float
    left: float
    right: float
    """Light on surfaces that face the street from the left and from the right."""
    sun_side: int
    """Side of the sun (-1, +1); 0: no cast shadows."""
    sight_m: float
    """Distance at which haze takes 63 % of the contrast."""
    blur_px: float
    noise: float
    gamma: float
    lamps: bool


def sample_light(rng: np.random.Generator) -> Light:
    """Sunny, overcast, low sun or dusk; good and bad optics."""
    kind = rng.choice(4, p=(0.38, 0.30, 0.14, 0.18))
    cast = np.exp(rng.normal(0.0, 0.06, 3))
    sides = rng.uniform(0.85, 1.1, 2)
    sun_side = 0
    if kind == 0:
        daylight, clouds = rng.uniform(1.05, 1.45), rng.uniform(0.0, 0.5)
        zenith, horizon = np.array([0.20, 0.38, 0.68]), np.array([0.56, 0.68, 0.80])
        sun_side = int(rng.choice((-1, 1)))
        sides[0 if sun_side < 0 else 1] *= 0.55  # the row of houses on the sun's side shows its shaded front
    elif kind == 1:
        daylight, clouds = rng.uniform(0.85, 1.25), rng.uniform(0.4, 1.0)
        grey = rng.uniform(0.68, 0.92)
        zenith, horizon = np.array([0.92, 0.96, 1.0]) * grey * 0.8, np.array([1.0, 1.0, 1.0]) * grey
    elif kind == 2:
        daylight, clouds = rng.uniform(0.85, 1.2), rng.uniform(0.1, 0.6)
        zenith, horizon = np.array([0.42, 0.52, 0.72]), np.array([0.98, 0.84, 0.62])
        cast *= (1.15, 1.0, 0.82)
        sun_side = int(rng.choice((-1, 1)))
        sides[0 if sun_side < 0 else 1] *= 0.45
    else:
        daylight, clouds = rng.uniform(0.34, 0.62), rng.uniform(0.1, 0.9)
        zenith, horizon = np.array([0.26, 0.32, 0.50]) * 1.5, np.array([0.80, 0.58, 0.52]) * 1.5
        cast *= (0.92, 0.95, 1.15)
    return Light(
        daylight=float(daylight),
        cast=cast.astype(np.float32),
        zenith=zenith.astype(np.float32),
        horizon=horizon.astype(np.float32),
        clouds=float(clouds),
        left=float(sides[0]),
        right=float(sides[1]),
        sun_side=sun_side,
        sight_m=float(rng.uniform(60, 140) if rng.random() < 0.25 else rng.uniform(150, 600)),
        blur_px=float(rng.uniform(0.0, 0.8) if rng.random() < 0.6 else 0.0),
        noise=float(rng.uniform(0.008, 0.02) if kind < 3 else rng.uniform(0.012, 0.03)),
        gamma=float(rng.uniform(0.85, 1.2)),
        lamps=bool(kind == 3 or (kind == 1 and rng.random() < 0.3)),
    )


def expose(canvas: Canvas, light: Light, height: int, width: int) -> np.ndarray:
    """The canvas through haze, lens and sensor: uint8 (height, width, 3)."""
    rng = canvas.rng
    parts = [canvas.colour[i::SUPERSAMPLING, j::SUPERSAMPLING] for i, j in np.ndindex(SUPERSAMPLING, SUPERSAMPLING)]
    scene = sum(parts[1:], start=parts[0]) / len(parts)
    middle = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    haze = 1.0 - np.exp(-canvas.depth[middle, middle] / light.sight_m)
    haze[canvas.label[middle, middle] == SKY] = 0.0
    scene += haze[..., None] * (light.horizon * np.float32(0.9) - scene)
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    vignette = 1.0 - 0.12 * (rows * rows + columns * columns)
    scene = scene * (light.daylight * light.cast) * vignette[..., None]
    scene = np.clip(scene, 0.0, 1.0) ** np.float32(light.gamma)
    if light.blur_px > 0:
        soft = Image.fromarray((scene * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(light.blur_px))
        scene = np.asarray(soft, np.float32) / 255
    noise = rng.standard_normal(scene.shape, np.float32) * (light.noise * (0.5 + np.sqrt(scene)))
    return (np.clip(scene + noise, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
