"""PNG files of one channel, written and read by the specification alone: the judge of Pillow's reading.

W3C PNG specification, third edition; no interlacing.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, PALETTE = 0, 3


def write_png(values: np.ndarray, bits: int, colour_type: int = GREY, missing: int = 0) -> bytes:
    """A grey or palette PNG of `values` (H, W) with `bits` a pixel (1, 2, 4, 8 or 16), rows unfiltered.

    Its stream lacks the last `missing` rows, and is whole otherwise.
    """
    height, width = values.shape
    rows = b""
    for row in values[: height - missing]:
        written = "".join(format(int(value), f"0{bits}b") for value in row)
        written += "0" * (-len(written) % 8)
        rows += b"\0" + bytes(int(written[at : at + 8], 2) for at in range(0, len(written), 8))
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    colours = chunk(b"PLTE", bytes(7 * value % 256 for value in range(3 * 2**bits))) if colour_type == PALETTE else b""
    return SIGNATURE + chunk(b"IHDR", header) + colours + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def read_png(data: bytes) -> np.ndarray | None:
    """The stored values, int64 (H, W), of a file as `write_png` makes them, with any filters.

    None for a file of another kind, and an array without values for one that has too few rows.
    """
    chunks: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while data[:8] == SIGNATURE and b"IEND" not in chunks and at + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + size]
        if data[at : at + size + 12] != chunk(kind, content):
            return None
        chunks[kind] = chunks.get(kind, b"") + content
        at += size + 12
    if not {b"IHDR", b"IDAT", b"IEND"} <= chunks.keys() or len(chunks[b"IHDR"]) != 13 or b"eXIf" in chunks:
        return None
    width, height, bits, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if colour_type not in (GREY, PALETTE) or interlaced or bits not in (1, 2, 4, 8, 16) or width * height > 2**20:
        return None
    try:
        rows, stride = zlib.decompress(chunks[b"IDAT"]), (width * bits + 7) // 8
        if len(rows) < height * (stride + 1):
            return np.empty((0, 0), np.int64)
        packed = _unfiltered(rows, height, stride, max(bits // 8, 1))
    except (zlib.error, IndexError, ValueError):
        return None
    each_bit = np.unpackbits(packed, axis=1)[:, : width * bits].reshape(height, width, bits)
    return each_bit.astype(np.int64) @ (1 << np.arange(bits)[::-1])


def _unfiltered(data: bytes, height: int, stride: int, step: int) -> np.ndarray:
    """Section 9.2: each byte is stored less a prediction from those at its left (a), above (b) and above left (c)."""
    rows = np.zeros((height + 1, step + stride), np.int64)
    for y in range(1, height + 1):
        line = data[(y - 1) * (stride + 1) : y * (stride + 1)]
        for x in range(step, step + stride):
            a, b, c = rows[y, x - step], rows[y - 1, x], rows[y - 1, x - step]
            nearest = min((a, b, c), key=lambda value: abs(a + b - c - value))
            predicted = (0, a, b, (a + b) // 2, nearest)[line[0]]
            rows[y, x] = (line[1 + x - step] + predicted) & 255
    return rows[1:, step:].astype(np.uint8)
