"""Dense packing of sub-byte integers within a row, the first in the low bits of the first byte.

Rows begin on whole bytes. TFLite stores int4 in this way; here other widths are, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def packed_bytes(elements: int, bits: int) -> int:
    """Bytes of a packed row."""
    return -(-elements * bits // 8)


def pack_rows(values: npt.NDArray[np.number[Any]], bits: int) -> npt.NDArray[np.uint8]:
    """Pack integers (rows, elements) of `bits`, two's complement if signed, to uint8 (rows, `packed_bytes`)."""
    fields = values.astype(np.int64) & ((1 << bits) - 1)
    planes = ((fields[..., np.newaxis] >> np.arange(bits)) & 1).astype(np.uint8)
    return np.packbits(planes.reshape(len(values), -1), axis=1, bitorder="little")


def unpack_rows(packed: npt.NDArray[np.uint8], bits: int, elements: int, dtype: str) -> npt.NDArray[np.integer[Any]]:
    """Unpack uint8 (rows, bytes) to (rows, elements) of `dtype`, sign-extended if `dtype` is signed."""
    planes = np.unpackbits(packed, axis=1, bitorder="little")[:, : elements * bits]
    fields = planes.reshape(len(packed), elements, bits).astype(np.int64) @ (np.int64(1) << np.arange(bits))
    if not dtype.startswith("u"):
        fields -= (fields >> (bits - 1)) << bits
    return fields.astype(dtype)
