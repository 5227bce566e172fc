"""The orientation tag of images (EXIF 2.32, tag 274): where the stored row 0 and column 0 are shown."""

from __future__ import annotations

import numpy as np
from PIL import Image

_TAG = 274


def stored_orientation(image: Image.Image) -> int:
    """The tag's value; 1 where there is none that can be read, as viewers do. Pillow turns a TIFF as it loads it."""
    if image.format == "TIFF":
        return 1
    try:
        found = image.getexif().get(_TAG, 1)
    except Exception:  # a corrupt tag raises errors of every kind
        return 1
    return found if found in range(1, 9) else 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels (H, W, ...) as a viewer shows them (EXIF 2.32, tag 274: where the stored row 0 and column 0 are)."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
