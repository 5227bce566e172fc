"""Codes narrower than a byte: packed densely within a row, the first in the low bits of the first byte.

A row begins on a whole byte. This is how TFLite stores int4, carried on to 2, 3, 5 and 6 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def packed_bytes(elements: int, bits: int) -> int:
    """Bytes of one row."""
    return -(-elements * bits // 8)


def pack_rows(values: npt.NDArray[np.number[Any]], bits: int) -> npt.NDArray[np.uint8]:
    """Integers (rows, elements) that fit `bits` to uint8 (rows, `packed_bytes`); signed ones in two's complement."""
    codes = values.astype(np.int64) & ((1 << bits) - 1)
    planes = ((codes[..., np.newaxis] >> np.arange(bits)) & 1).astype(np.uint8)
    return np.packbits(planes.reshape(len(values), -1), axis=1, bitorder="little")


def unpack_rows(packed: npt.NDArray[np.uint8], bits: int, elements: int, dtype: str) -> npt.NDArray[np.integer[Any]]:
    """The inverse: uint8 (rows, bytes) to (rows, elements) of `dtype`, sign-extended where it is signed."""
    planes = np.unpackbits(packed, axis=1, bitorder="little")[:, : elements * bits]
    codes = planes.reshape(len(packed), elements, bits).astype(np.int64) @ (np.int64(1) << np.arange(bits))
    if not dtype.startswith("u"):
        codes -= (codes >> (bits - 1)) << bits
    return codes.astype(dtype)
