"""Label maps as images: colours of the classes over the scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reports.record import OverlayRow

OVERLAY_FOLDER = "overlays"
WIDTH_PIXELS = 420
OPACITY = 0.65
VOID_COLOUR = (40, 40, 40)


def colour_of(hexadecimal: str) -> tuple[int, int, int]:
    """ "#rrggbb" -> (r, g, b)."""
    return int(hexadecimal[1:3], 16), int(hexadecimal[3:5], 16), int(hexadecimal[5:7], 16)


def paint(labels: np.ndarray, palette: Sequence[str]) -> np.ndarray:
    """The colours, uint8 (H, W, 3), of classes, uint8 (H, W); values beyond the palette (void) are dark grey."""
    table = np.full((256, 3), VOID_COLOUR, np.uint8)
    for index, colour in enumerate(palette):
        table[index] = colour_of(colour)
    return table[labels]


def lay_over(image: np.ndarray, labels: np.ndarray, palette: Sequence[str]) -> np.ndarray:
    """The classes' colours over a grey version of the image, uint8 (H, W, 3)."""
    grey = image.mean(axis=2, keepdims=True)
    return np.rint(OPACITY * paint(labels, palette) + (1 - OPACITY) * grey).astype(np.uint8)


def save_row(
    folder: Path,
    image_id: str,
    image: np.ndarray,
    label: np.ndarray,
    baseline: np.ndarray,
    choice: np.ndarray,
    palette: Sequence[str],
    note: str,
) -> OverlayRow:
    """Write the four PNG files of one row below the study's folder.

    Args:
        image: uint8 (H, W, 3).
        label, baseline, choice: uint8 (H, W).
    """
    target = folder / OVERLAY_FOLDER
    target.mkdir(exist_ok=True)
    stem = "".join(c if c.isalnum() or c in "_-" else "_" for c in image_id)
    maps = {"label": label, "baseline": baseline, "choice": choice}
    drawn = {"image": image} | {name: lay_over(image, classes, palette) for name, classes in maps.items()}
    files = {}
    for name, pixels in drawn.items():
        made = Image.fromarray(pixels)
        height = round(made.height * WIDTH_PIXELS / made.width)
        # Nearest for label maps: a blend of two colours would look like a third class.
        resampling = Image.Resampling.LANCZOS if name == "image" else Image.Resampling.NEAREST
        path = target / f"{stem}_{name}.png"
        made.resize((WIDTH_PIXELS, height), resampling).save(path, optimize=True)
        files[f"{name}_file"] = f"{OVERLAY_FOLDER}/{path.name}"
    return OverlayRow(image_id=image_id, note=note, **files)
