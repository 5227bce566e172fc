"""Random flips, zooms, crops and colours of an image and its labels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from deeplab.datasets import VOID
from deeplab.training.config import AugmentationConfig

_GREY = 127
"""Colour outside of an image that is zoomed out: 0 at the network's input."""


def augment(
    image: np.ndarray,
    label: np.ndarray,
    height: int,
    width: int,
    options: AugmentationConfig,
    rng: np.random.Generator,
    whole: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """One random view of an image.

    The image is resized to the network's size as in scoring, zoomed by a factor z, and a window of (height, width)
    taken of it; pixels outside the image are grey and void. Zoom, resize and window are one resampling.

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W).
        height, width: of the result, pixels.
        options: ranges of the augmentations.
        rng: source of randomness; the same state gives the same view.
        whole: (height, width) of the network's images, which a zoom of 1 shows the image at; the result's if None.

    Returns:
        uint8 (height, width, 3) and uint8 (height, width).
    """
    zoom = float(np.exp(rng.uniform(*np.log(options.scale))))
    across, down = rng.uniform(size=2)
    flip = options.flip and rng.random() < 0.5
    at = _focus(label, rng) if options.focus and rng.random() < options.focus else (None, None)
    whole = whole or (height, width)
    wide, left = _window(label.shape[1], width / whole[1] / zoom, across, at[1])
    high, top = _window(label.shape[0], height / whole[0] / zoom, down, at[0])
    pixels = _cut(Image.fromarray(image), (left, top, wide, high), (width, height), Image.Resampling.BILINEAR, _GREY)
    classes = _cut(Image.fromarray(label), (left, top, wide, high), (width, height), Image.Resampling.NEAREST, VOID)
    if flip:
        pixels, classes = pixels[:, ::-1], classes[:, ::-1]
    return _recolour(pixels, options.colour, rng), np.ascontiguousarray(classes)


def _focus(label: np.ndarray, rng: np.random.Generator) -> tuple[int, int] | tuple[None, None]:
    """(row, column) of a pixel of a class drawn evenly among those in the image: small things are seen more often."""
    present = np.unique(label)
    present = present[present != VOID]
    if not present.size:
        return None, None
    pixels = np.flatnonzero(label == rng.choice(present))
    return divmod(int(rng.choice(pixels)), label.shape[1])


def _window(size: int, share: float, place: float, focus: int | None) -> tuple[float, float]:
    """Extent and start of a window along one side of an image of `size` pixels.

    `place` in [0, 1) says where it is: within the image, or the image within it. With a `focus` it is around
    that pixel, as far as the image's edges allow.
    """
    extent = size * share
    if focus is None or extent > size:
        return extent, place * (size - extent)
    return extent, float(np.clip(focus + 0.5 - place * extent, 0.0, size - extent))


def _cut(
    image: Image.Image,
    window: tuple[float, float, float, float],
    size: tuple[int, int],
    resampling: Image.Resampling,
    fill: int,
) -> np.ndarray:
    """A window (left, top, wide, high) of an image, resampled to `size` (width, height), `fill` outside of it."""
    x, y, wide, high = window
    left, right, column, columns = _seen(image.width, x, wide, size[0])
    top, bottom, row, rows = _seen(image.height, y, high, size[1])
    cut = image.resize((columns, rows), resampling, box=(left, top, right, bottom))
    if (columns, rows) != size:
        frame = Image.new(image.mode, size, (fill,) * len(image.getbands()) if image.mode == "RGB" else fill)
        frame.paste(cut, (column, row))
        cut = frame
    return np.asarray(cut)


def _seen(side: int, start: float, extent: float, pixels: int) -> tuple[float, float, int, int]:
    """Along one side of an image, the part of a window that is within it: its start and its end, and the first and the
    number of the window's pixels that it fills."""
    low, high = max(0.0, start), min(side, start + extent)
    return low, high, round((low - start) * pixels / extent), max(1, round((high - low) * pixels / extent))


def _recolour(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Gamma, contrast, brightness and a cast, as one table of 256 values a channel."""
    gamma = np.exp(strength * rng.uniform(-0.7, 0.7))
    contrast = 1.0 + strength * rng.uniform(-0.8, 0.8)
    brightness = strength * rng.uniform(-0.4, 0.4)
    cast = 1.0 + strength * rng.uniform(-0.25, 0.25, 3)
    value = np.linspace(0.0, 1.0, 256)[:, None] ** gamma * cast
    table = np.clip((value - 0.5) * contrast + 0.5 + brightness, 0.0, 1.0)
    table = (table * 255 + 0.5).astype(np.uint8)
    return np.stack([table[:, channel][image[..., channel]] for channel in range(3)], axis=-1)
