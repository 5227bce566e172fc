"""Image and mask files, decoded to the values that a viewer shows, or refused with a line that says how to convert.

Images: 8-bit RGB; samples of 9 to 16 bits are scaled to 8 bits over their full range; an orientation tag is applied.
Masks: the stored index values, never scaled or inverted; an orientation tag is applied to them, too, as a viewer does.
Pillow decodes; files that it reads wrong are read or refused by the modules `png`, `tiff`, `bmp` and `sixteen_bits`.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from deeplab.datasets import bmp, png, tiff
from deeplab.datasets.orientation import stored_orientation, upright
from deeplab.datasets.sixteen_bits import eight_bit_colours
from evaluation.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Suffixes of formats that keep index values as they are."""
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "TIFF", "WEBP")
"""Pillow's names of the decoders that may run. Any other is never tried, whatever a file's suffix: an EPS file named
.png would start Ghostscript."""
MASK_FORMATS = ("PNG", "TIFF", "BMP")
MOST_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded: 256 MiB as 8-bit RGB, Pillow's own limit for a warning."""
MOST_FILE_BYTES = 2**30
INVALID = -1
"""Entry of a label encoding for a file value that must not occur."""

# This module says in one line what is wrong. The filters are set once: `warnings.catch_warnings` is not safe
# among threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())
tiff.silence_libtiff()


def read_image(path: Path) -> np.ndarray:
    """An image as uint8 (H, W, 3), RGB, upright.

    Raises:
        UserError: the file is missing, damaged or no image; it holds several frames, transparent pixels, or numbers of
            which the range is unknown (32-bit integers, floats).
    """
    image = _decoded(path)
    try:
        pixels = _rgb(path, image)
    except UserError:
        raise
    except Exception as error:  # converters, as decoders, raise errors of every kind
        raise _unreadable(path, error) from None
    return upright(pixels, image.orientation)


def read_mask(path: Path, encoding: np.ndarray, hint: str = "") -> np.ndarray:
    """A mask as labels, uint8 (H, W), upright.

    Args:
        path: a PNG, TIFF or BMP file of one channel: grey or palette, 1 to 16 bits.
        encoding: int16 (256,) or (65536,): label, VOID or `INVALID` of each value in the file.
        hint: the end of the message of a value that is not allowed.

    Raises:
        UserError: the file is missing or damaged, has colours or an alpha channel, is of a format that changes values,
            or holds a value that `encoding` does not allow.
    """
    image = _decoded(path)
    values = upright(_indices(path, image), image.orientation)
    known = (values >= 0) & (values < len(encoding))
    labels = np.where(known, encoding[np.where(known, values, 0)], INVALID)
    if (labels == INVALID).any():
        row, column = np.argwhere(labels == INVALID)[0]
        allowed = _ranges(np.flatnonzero(encoding != INVALID))
        raise UserError(
            f"{path}: label {values[row, column]} at row {row}, column {column}; allowed are {allowed}{hint}"
        )
    return labels.astype(np.uint8)


def header_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as stored, from its header alone. Raises `UserError` for a file that has none."""
    _check_file(path)
    return _opened(path, path).size


class _Decoded(NamedTuple):
    pixels: Image.Image
    format: str
    """One of `FORMATS`, or MPO: a phone's JPEG."""
    orientation: int
    """EXIF tag 274, 1..8."""
    bits: int
    """Bits of each stored sample."""


def _decoded(path: Path) -> _Decoded:
    _check_file(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    image = _opened(path, io.BytesIO(content))
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it: the missing part would be grey
    try:
        if image.format == "PNG":
            image.verify()  # its checksums: `load` skips those of the pixels
            png.check_complete(path, content)
            image = _opened(path, io.BytesIO(content))
        elif image.format == "TIFF":
            tiff.check_readable(path, _tags(image), len(content))
        return _loaded(path, image, content)
    except UserError:
        raise
    except Exception as error:  # decoders raise errors of every kind on damaged data
        raise _unreadable(path, error) from None


def _loaded(path: Path, image: Image.Image, content: bytes) -> _Decoded:
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a phone's JPEG with a preview in it
    if frames != 1:
        raise UserError(f"{path}: holds {frames} frames or pages; save the one that is meant as a file of its own")
    bits, kind = _stored_bits(image, content), str(image.format)
    if kind == "BMP" and (indices := bmp.palette_image(path, content)) is not None:
        return _Decoded(indices, kind, 1, bits)
    image.load()
    wide_colours = bits == 16 and image.mode in ("RGB", "RGBA", "CMYK")
    pixels = eight_bit_colours(image, content) if wide_colours else image
    return _Decoded(pixels, kind, stored_orientation(image), bits)


def _check_file(path: Path) -> None:
    """Refuse a device or a pipe, which may never end."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    if not S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a file; remove it or put an image there")
    if status.st_size > MOST_FILE_BYTES:
        raise UserError(
            f"{path}: {status.st_size:,} bytes, more than the {MOST_FILE_BYTES:,} that are read; scale the image down"
        )


def _opened(path: Path, source: Path | io.BytesIO) -> Image.Image:
    """The image with its size and mode known, its pixels not yet decoded."""
    try:
        image = Image.open(source, formats=FORMATS)
    except Image.DecompressionBombError:
        raise UserError(f"{path}: more than {MOST_PIXELS:,} pixels; scale the image down") from None
    except Image.UnidentifiedImageError:
        kind = tiff.unsupported(source.read_bytes() if isinstance(source, Path) else source.getvalue())
        if kind is not None:
            raise UserError(f"{path}: TIFF of a kind that is not read ({kind}); {tiff.AS_PNG}") from None
        raise UserError(
            f"{path}: not a readable image: empty, damaged, or none of {', '.join(FORMATS)}; replace it"
        ) from None
    except Exception as error:  # decoders raise errors of every kind on damaged data
        raise _unreadable(path, error) from None
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise UserError(f"{path}: {width}x{height} pixels, more than {MOST_PIXELS:,} in all; scale the image down")
    return image


def _stored_bits(image: Image.Image, content: bytes) -> int:
    if image.format == "PNG":
        return content[png.BITS_AT]
    if image.format == "TIFF":
        return int(min(_tags(image).get(tiff.BITS, (1,))))
    return 16 if image.mode.startswith("I") else 8


def _tags(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a TIFF file, by number."""
    return image.tag_v2 if isinstance(image, TiffImageFile) else {}


def _rgb(path: Path, image: _Decoded) -> np.ndarray:
    pixels = image.pixels
    if pixels.mode == "F" or (pixels.mode == "I" and image.format == "TIFF"):
        kind = "floats" if pixels.mode == "F" else "signed integers" if image.bits < 32 else "32-bit integers"
        raise UserError(f"{path}: holds {kind}, of unknown range; save the image as RGB or grey of 8 or 16 bits")
    if pixels.mode == "P" and (most := np.asarray(pixels).max()) >= (colours := len(pixels.getpalette() or ()) // 3):
        raise UserError(f"{path}: not a readable image (colour {most} of a palette of {colours}); replace it")
    if _is_transparent(image):
        raise UserError(f"{path}: has transparent pixels; save the image on the background it should have, as RGB")
    if pixels.mode.startswith("I"):
        return np.repeat(_eight_bits(image)[:, :, None], 3, axis=2)
    return np.array(pixels.convert("RGB"))


def _is_transparent(image: _Decoded) -> bool:
    pixels = image.pixels
    if image.format == "PNG" and pixels.getbands() in (("1",), ("L",), ("I",), ("R", "G", "B")):
        return png.has_transparent_colour(pixels, image.bits)
    return pixels.has_transparency_data and pixels.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def _eight_bits(image: _Decoded) -> np.ndarray:
    """Grey of more than 8 bits, scaled over its full range and rounded: uint8 (H, W)."""
    top = 65535
    values = np.asarray(image.pixels).astype(np.int64)
    if image.format == "TIFF":
        top = 2**image.bits - 1
        if _tags(image.pixels)[tiff.PHOTOMETRIC] == tiff.WHITE_IS_ZERO:
            values = top - values
    return ((values * 255 + top // 2) // top).astype(np.uint8)


def _indices(path: Path, image: _Decoded) -> np.ndarray:
    """The values of a mask as stored, int64 (H, W)."""
    pixels, bits = image.pixels, image.bits
    if image.format not in MASK_FORMATS:
        raise UserError(f"{path}: mask is {image.format}, which changes class indices; save it as 8-bit grey PNG")
    if pixels.mode == "F":
        raise UserError(f"{path}: mask holds floats; save its class indices as 8-bit grey PNG")
    if pixels.mode not in ("L", "P", "1", "I") and not pixels.mode.startswith("I;16"):
        raise UserError(
            f"{path}: mask is {pixels.mode}, expected one channel of class indices; replace each colour by the index "
            "of its class and save it as 8-bit grey or palette PNG without alpha"
        )
    if image.format == "TIFF":
        tags = _tags(pixels)
        tiff.check_lossless(path, tags)
        if tags[tiff.PHOTOMETRIC] == tiff.WHITE_IS_ZERO or (pixels.mode == "L" and bits < 8):
            raise UserError(f"{path}: mask is a TIFF of less than 8 bits or with white as 0; save it as 8-bit grey PNG")
    elif pixels.mode == "L" and bits < 8:
        return png.stored_grey(pixels, bits).astype(np.int64)
    return np.asarray(pixels).astype(np.int64)


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a readable image ({_one_line(path, error)}); replace it")


def _one_line(path: Path, error: Exception) -> str:
    """The message of a decoder, shortened, without the path that our message has already."""
    text = " ".join(str(error).replace(str(path), "file").split()) or type(error).__name__
    if text.startswith("decoder error"):  # Pillow's number says no more
        return "its compressed data are damaged or end early"
    return text if len(text) <= 150 else f"{text[:147]}..."


def _ranges(values: np.ndarray) -> str:
    """[0, 1, 2, 255] -> '0-2, 255'."""
    groups = np.split(values, np.flatnonzero(np.diff(values) != 1) + 1)
    return ", ".join(str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)
