"""Random flips, zooms, crops and colours of a picture and its labels."""

from __future__ import annotations

import numpy as np
from PIL import Image

from deeplab.datasets import VOID
from deeplab.training.config import AugmentationConfig

_GREY = 127
"""Fills what a zoom out leaves empty: 0 at the network's input."""


def augment(
    image: np.ndarray, label: np.ndarray, height: int, width: int, options: AugmentationConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One random view of a picture.

    The picture is squashed to the network's size as in scoring, zoomed by a factor z, and a window of (height, width)
    taken where z is large enough, or laid on grey and void where it is not. Zoom and squash are one resampling.

    Args:
        image: uint8 (H, W, 3).
        label: uint8 (H, W).
        height, width: of the result, pixels.
        options: what may happen; `crop` has been turned into height and width by the caller.
        rng: decides; the same state gives the same view.

    Returns:
        uint8 (height, width, 3) and uint8 (height, width).
    """
    zoom = float(np.exp(rng.uniform(*np.log(options.scale))))
    across, down = rng.uniform(size=2)
    flip = options.flip and rng.random() < 0.5
    picture, labels = Image.fromarray(image), Image.fromarray(label)
    if zoom >= 1.0:
        wide, high = picture.width / zoom, picture.height / zoom
        left, top = across * (picture.width - wide), down * (picture.height - high)
        box = (left, top, left + wide, top + high)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
        labels = labels.resize((width, height), Image.Resampling.NEAREST, box=box)
    else:
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        at = round(across * (width - size[0])), round(down * (height - size[1]))
        frame, void = Image.new("RGB", (width, height), (_GREY,) * 3), Image.new("L", (width, height), VOID)
        frame.paste(picture.resize(size, Image.Resampling.BILINEAR), at)
        void.paste(labels.resize(size, Image.Resampling.NEAREST), at)
        picture, labels = frame, void
    pixels, classes = np.asarray(picture), np.asarray(labels)
    if flip:
        pixels, classes = pixels[:, ::-1], classes[:, ::-1]
    return _recolour(pixels, options.colour, rng), np.ascontiguousarray(classes)


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
