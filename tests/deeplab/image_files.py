"""Image files written by their specifications alone: what Pillow does not write, and the judge of its reading."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from tests.fuzz.png import SIGNATURE, chunk

DEFLATE, PALETTE = 8, 3
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
"""Row, column, row step, column step."""


def filtered(values: np.ndarray, bits: int, interlaced: bool = False) -> bytes:
    """The rows of (H, W, C) with filter type 0."""
    data = b""
    for y, x, dy, dx in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        for row in values[y::dy, x::dx]:
            if row.size:
                written = "".join(format(int(value), f"0{bits}b") for value in row.ravel())
                written += "0" * (-len(written) % 8)
                data += b"\0" + int(written, 2).to_bytes(len(written) // 8, "big")
    return data


def png_file(
    values: np.ndarray, bits: int, colour: int, *, data: bytes | None = None, key: Sequence[int] | None = None,
    interlaced: bool = False,
) -> bytes:  # fmt: skip
    """Values (H, W, C); `data` instead of the filtered rows; `key`: the transparent colour."""
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    palette = chunk(b"PLTE", bytes(3 * 2**bits)) if colour == 3 else b""
    transparent = b"" if key is None else chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    stream = zlib.compress(filtered(values, bits, interlaced) if data is None else data)
    half = len(stream) // 2
    parts = chunk(b"IDAT", stream[:half]) + chunk(b"IDAT", stream[half:])
    return SIGNATURE + chunk(b"IHDR", header) + palette + transparent + parts + chunk(b"IEND", b"")


def bmp_file(
    indices: np.ndarray,
    bits: int,
    palette: np.ndarray,
    *,
    from_top: bool = False,
    old: bool = False,
    used: int | None = None,
    forgets: bool = False,
) -> bytes:
    """Indices (H, W) with a palette (n, 3); `old`: an OS/2 header; `used`: how many colours it says there are;
    `forgets`: it says that the pixels begin where the palette does."""
    height, width = indices.shape
    rows = []
    for row in indices if from_top else indices[::-1]:
        written = "".join(format(int(value), f"0{bits}b") for value in row)
        written += "0" * (-len(written) % 32)
        rows.append(int(written, 2).to_bytes(len(written) // 8, "big"))
    colours = b"".join(bytes([b, g, r]) + (b"" if old else b"\0") for r, g, b in palette.tolist())
    if old:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        height, used = -height if from_top else height, len(palette) if used is None else used
        header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, used, 0)
    start = 14 + len(header) + (0 if forgets else len(colours))
    body = header + colours + b"".join(rows)
    return b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, start) + body


def packed(values: np.ndarray, bits: int, order: str) -> bytes:
    """Rows of (H, W, C), each filling whole bytes."""
    if bits >= 8:
        return values.astype(f"{order}u{bits // 8}").tobytes()
    data = b""
    for row in values:
        written = "".join(format(int(value), f"0{bits}b") for value in row.ravel())
        written += "0" * (-len(written) % 8)
        data += int(written, 2).to_bytes(len(written) // 8, "big")
    return data


def tiff_file(
    values: np.ndarray, bits: int, photometric: int, *, order: str = "<", planar: int = 1, compression: int = 1,
    rows: int | None = None, tile: int | None = None, data: Sequence[bytes] | None = None,
    tags: Mapping[int, Sequence[int] | None] | None = None,
) -> bytes:  # fmt: skip
    """Values (H, W, C). `rows` a strip, or square tiles of side `tile`; `data` instead of the parts; `tags` changed."""
    height, width, channels = values.shape
    rows = height if rows is None else rows
    planes = [values[:, :, [channel]] for channel in range(channels)] if planar == 2 else [values]
    if tile:
        padded = [np.pad(plane, [(0, -height % tile), (0, -width % tile), (0, 0)]) for plane in planes]
        corners = itertools.product(range(0, height, tile), range(0, width, tile))
        parts = [plane[y : y + tile, x : x + tile] for plane, (y, x) in itertools.product(padded, list(corners))]
    else:
        parts = [plane[y : y + rows] for plane in planes for y in range(0, height, rows)]
    stored = [packed(part, bits, order) for part in parts] if data is None else data
    if compression == DEFLATE and data is None:
        stored = [zlib.compress(part) for part in stored]
    offsets = (8 + np.cumsum([0, *(len(part) for part in stored)])).tolist()
    counts = [len(part) for part in stored]
    entries: dict[int, Sequence[int] | None] = {
        256: [width], 257: [height], 258: [bits] * channels, 259: [compression], 262: [photometric], 277: [channels],
        284: [planar], 339: [1] * channels,
    }  # fmt: skip
    if tile:
        entries.update({322: [tile], 323: [tile], 324: offsets[:-1], 325: counts})
    else:
        entries.update({273: offsets[:-1], 278: [rows], 279: counts})
    if photometric == PALETTE:
        entries[320] = [257 * (7 * entry % 256) for entry in range(3 * 2**bits)]
    entries.update(tags or {})
    start = offsets[-1] + offsets[-1] % 2
    ours = sorted((tag, content) for tag, content in entries.items() if content is not None)
    directory, further = b"", b""
    for tag, content in ours:
        text = b"".join(struct.pack(f"{order}I", number) for number in content)
        if len(text) > 4:
            text, longer = struct.pack(f"{order}I", start + 2 + 12 * len(ours) + 4 + len(further)), text
            further += longer
        directory += struct.pack(f"{order}HHI", tag, 4, len(content)) + text
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    body = (head + b"".join(stored)).ljust(start, b"\0")
    return body + struct.pack(f"{order}H", len(ours)) + directory + bytes(4) + further
