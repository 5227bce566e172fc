"""Colours of 16 bits a sample as colours of 8 bits, scaled over their full range and rounded as grey is.

Pillow keeps the upper byte of each sample. Read once more as if in the other byte order, it gives the lower byte.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from PIL import Image

_OTHER_ORDER = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
"""The other byte order, by the last letter of Pillow's name of a memory layout, such as RGB;16L; N is native."""


def eight_bit_colours(upper: Image.Image, content: bytes) -> Image.Image:
    """The decoded image with each sample v of 16 bits as round(v / 257); alpha is 255 only where all its bits are set.

    A transparent colour (PNG) becomes an alpha channel.

    Args:
        upper: the image as Pillow decoded it: RGB, RGBA or CMYK.
        content: the file.
    """
    high, low = _bytes_of_samples(upper, content)
    rounded = high + (low > high + 128) - (high > low + 128)
    if upper.mode == "RGBA":
        opaque = (high[:, :, 3] == 255) & (low[:, :, 3] == 255)
        rounded[:, :, 3] = np.where(opaque, 255, np.minimum(rounded[:, :, 3], 254))
    elif upper.mode == "RGB" and "transparency" in upper.info:
        key = np.array(upper.info["transparency"])
        opaque = ((high != key >> 8) | (low != key & 255)).any(axis=2)
        rounded = np.dstack([rounded, 255 * opaque])
    return Image.fromarray(rounded.astype(np.uint8), "CMYK" if upper.mode == "CMYK" else None)


def _bytes_of_samples(upper: Image.Image, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower byte of each sample, both int16 (H, W, C)."""
    again = Image.open(io.BytesIO(content), formats=[str(upper.format)])
    layout = _layout(again.tile[0].args)
    if layout == "LA;16B":  # grey with alpha of a PNG: 4 bytes a pixel, which Pillow can give as they are
        again.tile = [tile._replace(args=_with_layout(tile.args, "RGBA")) for tile in again.tile]
        every = np.asarray(again).astype(np.int16)
        return every[:, :, [0, 0, 0, 2]], every[:, :, [1, 1, 1, 3]]
    other = layout[:-1] + _OTHER_ORDER[layout[-1]]
    again.tile = [tile._replace(args=_with_layout(tile.args, other)) for tile in again.tile]
    return np.asarray(upper).astype(np.int16), np.asarray(again).astype(np.int16)


def _layout(args: Any) -> str:
    return args if isinstance(args, str) else str(args[0])


def _with_layout(args: Any, layout: str) -> Any:
    return layout if isinstance(args, str) else (layout, *args[1:])
