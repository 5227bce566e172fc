"""PNG files: whether the pixel data are complete, and whether the transparent colour occurs. Pillow reports neither.

W3C PNG specification, third edition; sections are of it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from evaluation.errors import UserError

BITS_AT = 24
"""Position of the bit depth: the header chunk is always the first (section 11.2.1)."""
_HEADER_AT = 16
_SIGNATURE_BYTES = 8
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels by colour type (section 11.2.1)."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of each pass of an interlaced image (section 8.1)."""
_INPUT_BLOCK, _OUTPUT_BLOCK = 2**16, 2**20


def check_complete(path: Path, content: bytes) -> None:
    """Refuse a file whose pixel data end before its last row, or do not inflate: Pillow leaves missing rows 0.

    Time grows with the pixels, memory does not. `content` begins with a signature and a header chunk.

    Raises:
        UserError: the pixel data are incomplete or do not inflate.
    """
    needed = _pixel_bytes(*struct.unpack_from(">IIBBBBB", content, _HEADER_AT))
    try:
        found = _inflated_bytes(_pixel_data(content), needed)
    except zlib.error as error:
        raise UserError(f"{path}: not a readable image (damaged pixel data: {error}); replace it") from None
    if found < needed:
        raise UserError(
            f"{path}: not a readable image (truncated: {found:,} bytes of pixel data, {needed:,} needed); replace it"
        )


def has_transparent_colour(pixels: Image.Image, bits: int) -> bool:
    """Whether a pixel of a grey or RGB image of at most 8 bits, or grey of 16, has the colour of its tRNS chunk.

    The chunk holds a value as stored, before any scaling; of values wider than the samples the lower bits count
    (section 11.3.1.1).
    """
    if "transparency" not in pixels.info:
        return False
    key = np.array(pixels.info["transparency"]) & (2**bits - 1)
    values = stored_grey(pixels, bits) if pixels.mode in ("1", "L") else np.asarray(pixels)
    same = values == key
    return bool((same.all(axis=2) if same.ndim == 3 else same).any())


def stored_grey(pixels: Image.Image, bits: int) -> np.ndarray:
    """The stored values of grey of at most 8 bits, uint8 (H, W): Pillow scales 2 and 4 bits to 0..255."""
    values = np.asarray(pixels).astype(np.uint8)
    return values if pixels.mode == "1" else values // (255 // (2**bits - 1))


def _pixel_bytes(width: int, height: int, bits: int, colour_type: int, _: int, __: int, interlaced: int) -> int:
    """Bytes of the filtered rows, each with its filter type in front (section 7.2)."""
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in passes]
    depth = bits * _CHANNELS[colour_type]
    return sum(rows * (1 + (columns * depth + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _pixel_data(content: bytes) -> Iterator[bytes]:
    """The first run of IDAT chunks, in pieces: IDAT chunks after other chunks belong to no image (section 5.6)."""
    at, seen = _SIGNATURE_BYTES, False
    while at + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"IDAT":
            seen = True
            for start in range(at + 8, at + 8 + size, _INPUT_BLOCK):
                yield content[start : min(start + _INPUT_BLOCK, at + 8 + size)]
        elif seen:
            return
        at += size + 12


def _inflated_bytes(pieces: Iterator[bytes], needed: int) -> int:
    """Number of bytes in a zlib stream; counting stops soon after `needed`."""
    stream, found = zlib.decompressobj(), 0
    for piece in pieces:
        while not stream.eof and found <= needed:
            inflated = stream.decompress(piece, _OUTPUT_BLOCK)
            found += len(inflated)
            piece = stream.unconsumed_tail
            if not piece and len(inflated) < _OUTPUT_BLOCK:
                break
    return found
