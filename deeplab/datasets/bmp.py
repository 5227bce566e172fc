"""Uncompressed BMP files with a palette. Pillow reads some of them wrong: it takes the pixels of a palette of black and
white for single bits, whatever their width, and refuses 4-bit pixels with a grey palette."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.errors import UserError

_FILE_HEADER_BYTES = 14
_OLD_HEADER_BYTES = 12
"""BITMAPCOREHEADER of OS/2: sizes of 16 bits, palette entries of 3 bytes, not 4."""


def palette_image(path: Path, content: bytes) -> Image.Image | None:
    """The image with its stored indices, mode P; None for a file that has no palette or is compressed.

    Args:
        path: for messages.
        content: the file, whose header Pillow has accepted: its size is known not to be too large.

    Raises:
        UserError: pixels are missing.
    """
    start, header_bytes = struct.unpack_from("<II", content, 10)
    compression = used = 0
    if header_bytes == _OLD_HEADER_BYTES:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
        entry_bytes = 3
    else:
        width, height, _, bits, compression, _, _, _, used = struct.unpack_from("<iiHHIIiiI", content, 18)
        entry_bytes = 4
    if bits not in (1, 4, 8) or compression:
        return None
    palette_at = _FILE_HEADER_BYTES + header_bytes
    if start == palette_at:  # as some programs write, which forget the palette
        start += entry_bytes * (used or 2**bits)
    entries = min(used or 2**bits, 2**bits, max(start - palette_at, 0) // entry_bytes)
    colours = np.frombuffer(content[palette_at : palette_at + entry_bytes * entries], np.uint8)
    colours = colours.reshape(-1, entry_bytes)[:, 2::-1]  # stored as blue, green, red
    indices = _indices(path, content[start:], width, abs(height), bits)
    if height > 0:  # rows from the bottom
        indices = indices[::-1]
    image = Image.fromarray(np.ascontiguousarray(indices))
    image.putpalette(colours.tobytes())
    return image


def _indices(path: Path, pixels: bytes, width: int, height: int, bits: int) -> np.ndarray:
    """uint8 (H, W), rows as stored: each fills a multiple of 4 bytes, of which the last row may lack the end."""
    row_bytes, stride = (width * bits + 7) // 8, (width * bits + 31) // 32 * 4
    needed = stride * (height - 1) + row_bytes
    if len(pixels) < needed:
        raise UserError(
            f"{path}: not a readable image (truncated: {len(pixels):,} bytes of pixels, {needed:,} needed); replace it"
        )
    rows = np.frombuffer(pixels[: stride * height].ljust(stride * height, b"\0"), np.uint8).reshape(height, stride)
    each_bit = np.unpackbits(rows[:, :row_bytes], axis=1).reshape(height, -1, bits)[:, :width]
    return np.packbits(each_bit, axis=2)[:, :, 0] >> (8 - bits)
