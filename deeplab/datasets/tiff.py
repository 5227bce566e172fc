"""TIFF files: a file that Pillow reads wrong, or in part without a message, is found by its tags and refused.

TIFF 6.0; sections are of it.
"""

from __future__ import annotations

import ctypes
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image, TiffImagePlugin

from evaluation.errors import UserError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR = 273, 277, 278, 279, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT, SUBSAMPLING = 322, 323, 324, 325, 339, 530
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
UNCOMPRESSED, OLD_JPEG, SEPARATE_PLANES, SIGNED = 1, 6, 2, 2
FOR_MASKS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 34925: "LZMA", 50000: "Zstandard"}
"""Compressions by number: those that keep class indices, and of which libtiff reports missing rows."""
_OTHER_COMPRESSIONS = {
    2: "CCITT", 3: "CCITT", 4: "CCITT", 6: "JPEG", 7: "JPEG", 33003: "JPEG 2000", 33004: "JPEG 2000",
    33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
AS_PNG = "save it as PNG of 8 or 16 bits"


def check_readable(path: Path, tags: Mapping[int, Any], file_bytes: int) -> None:
    """Refuse a file that Pillow would decode to other pixels than those stored.

    Args:
        path: for messages.
        tags: of the first image, by number.
        file_bytes: length of the file.

    Raises:
        UserError: a kind of file that is not read right, or pixels are missing.
    """
    if PHOTOMETRIC not in tags:
        raise UserError(f"{path}: TIFF does not say what its values mean (tag PhotometricInterpretation); {AS_PNG}")
    bits, uncompressed = _bits(tags), tags.get(COMPRESSION, 1) == UNCOMPRESSED
    if SIGNED in tags.get(SAMPLE_FORMAT, ()) and 8 in bits:
        raise UserError(f"{path}: TIFF of signed 8-bit samples, which may be below 0; save it as unsigned, or as PNG")
    if tags.get(PLANAR) == SEPARATE_PLANES and (uncompressed or len(bits) > 1):
        usual = tags[PHOTOMETRIC] in (BLACK_IS_ZERO, RGB, PALETTE, CMYK) and tags.get(FILL_ORDER, 1) == 1
        if set(bits) != {8} or (uncompressed and not usual):
            raise UserError(
                f"{path}: TIFF that stores each channel apart (planar configuration 2) is read only of 8 bits, without "
                f"inverse scale or bit order; {AS_PNG}"
            )
    if uncompressed and tags[PHOTOMETRIC] == YCBCR and len(bits) == 3 and tags.get(SUBSAMPLING, (2, 2)) != (1, 1):
        raise UserError(f"{path}: TIFF of subsampled YCbCr without compression is not read; {AS_PNG}")
    _check_byte_counts(path, tags, bits, file_bytes)


def check_lossless(path: Path, tags: Mapping[int, Any]) -> None:
    """Refuse a mask whose compression may change class indices or lose rows unseen. Raises `UserError`."""
    compression = tags.get(COMPRESSION, 1)
    if compression not in FOR_MASKS:
        name = _OTHER_COMPRESSIONS.get(compression, f"number {compression}")
        known = ", ".join(dict.fromkeys(FOR_MASKS.values()))
        raise UserError(
            f"{path}: mask is a TIFF with compression {name}, which may change or lose class indices; save it as 8-bit "
            f"grey PNG, or with one of the compressions {known}"
        )


def unsupported(content: bytes) -> str | None:
    """The kind of a TIFF file that Pillow cannot open, for a message; None where it is no TIFF."""
    if content[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        stream = io.BytesIO(content)
        directory = TiffImagePlugin.ImageFileDirectory_v2(stream.read(16 if content[2:3] == b"+" else 8))
        stream.seek(directory.next)
        directory.load(stream)
        bits = directory.get(BITS, (1,))
        if STRIP_OFFSETS not in directory and TILE_OFFSETS not in directory:
            return None
        kinds = {1: "unsigned", 2: "signed", 3: "float"}
        kind = kinds.get(directory.get(SAMPLE_FORMAT, (1,))[0], "other")
    except Exception:  # a damaged file
        return None
    order = "big" if content[:1] == b"M" else "little"
    return f"{directory.get(SAMPLES, 1)} x {max(bits)} bits a pixel, {kind}, {order}-endian"


def silence_libtiff() -> None:
    """Keep libtiff from writing errors to the standard error output, as Pillow raises them as exceptions.

    For the whole process, so that threads need not take turns. A Pillow whose libtiff cannot be reached keeps writing.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(Image.core.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            set_handler = getattr(library, name)
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)


def _bits(tags: Mapping[int, Any]) -> tuple[int, ...]:
    """Bits of each sample of a pixel; a file may say them once for all."""
    bits, samples = tuple(tags.get(BITS, (1,))), int(tags.get(SAMPLES, 1))
    return bits * samples if len(bits) == 1 else bits


def _check_byte_counts(path: Path, tags: Mapping[int, Any], bits: Sequence[int], file_bytes: int) -> None:
    """Check that each strip or tile is in the file, and as long as its pixels need where they are uncompressed."""
    compression = tags.get(COMPRESSION, 1)
    if compression == OLD_JPEG:  # a JPEG file within the file, which says where it is by tags of its own
        return
    tiled = TILE_OFFSETS in tags and STRIP_OFFSETS not in tags
    offsets = tags.get(TILE_OFFSETS if tiled else STRIP_OFFSETS, ())
    counts = tags.get(TILE_BYTES if tiled else STRIP_BYTES, ())
    if len(counts) != len(offsets):
        raise UserError(f"{path}: not a readable image (sizes of {len(counts)} of {len(offsets)} strips); replace it")
    rows, columns, per_plane = _parts(tags, tiled)
    separate = tags.get(PLANAR, 1) == SEPARATE_PLANES
    planes = [[depth] for depth in bits] if separate else [list(bits)]
    if len(offsets) != per_plane * len(planes):
        raise UserError(
            f"{path}: not a readable image ({len(offsets)} of {per_plane * len(planes)} strips or tiles); replace it"
        )
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        needed = max(count, 1)
        if compression == UNCOMPRESSED:
            plane, part = divmod(index, per_plane)
            left = rows if tiled else min(rows, tags[HEIGHT] - part * rows)
            needed = (columns * sum(planes[plane]) + 7) // 8 * left
        found = min(count, file_bytes - offset)
        if found < needed:
            raise UserError(
                f"{path}: not a readable image (truncated: {max(found, 0):,} bytes in a strip or tile, {needed:,} "
                "needed); replace it"
            )


def _parts(tags: Mapping[int, Any], tiled: bool) -> tuple[int, int, int]:
    """Rows and columns of a strip or tile, and how many of them a plane has. The last strip may have fewer rows."""
    width, height = tags[WIDTH], tags[HEIGHT]
    if tiled:
        columns, rows = tags[TILE_WIDTH], tags[TILE_HEIGHT]
        return rows, columns, -(-width // columns) * -(-height // rows)
    rows = min(tags.get(ROWS_PER_STRIP, height), height)
    return rows, width, -(-height // rows)
