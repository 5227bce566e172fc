"""Encoders of integer weights: dense, bitmap and relative index.

`evaluation.kernels.weights` selects the format and counts its bytes; `c/low_bit/unpack.h` specifies and reads it.
"""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, Fields, KernelSite
from evaluation.interpreter.packing import pack_rows
from evaluation.kernels.constants import GROUP, WeightFormat
from evaluation.kernels.weights import INDEX_BITS, Format, layer_storage

PLAIN = -1
"""`format` of dense values of a C type, which are read in place."""
_AT_ONCE = 1 << 16
"""Values that are packed at a time; a multiple of 8, so that each portion ends on a whole byte."""


def stored_fields(site: KernelSite, rows: np.ndarray) -> Fields:
    """The members of `struct low_bit_convolution_layer`, `low_bit_depthwise_layer`, `packed_convolution_layer` and
    `packed_depthwise_layer` that describe the stored weights of a call.

    Args:
        rows: integers (output channels, values), of the dtype they are multiplied in.
    """
    tensor, storage, entries = site.required_tensor(1), layer_storage(site.graph, site.number), 0
    form = WeightFormat[storage.format.name] if site.is_packed else PLAIN
    if form == PLAIN:
        stored = _plain(rows, site.operator.kind)
    elif storage.format is Format.DENSE:
        stored = pack_rows(rows, tensor.bits).reshape(-1)
    elif storage.format is Format.BITMAP:
        stored = bitmap(rows.reshape(-1), tensor.bits)
    else:
        stored, entries = relative_index(rows.reshape(-1), tensor.bits)
    if stored.nbytes != storage.kernel_bytes:
        raise ValueError(f"{site.operator.name}: {stored.nbytes} bytes of weights, planned were {storage.kernel_bytes}")
    return {
        "weights": Constant(site.name_of(storage.format.value, 1), stored),
        "entries": entries,
        "format": form,
        "weight_bits": tensor.bits,
        "weight_bytes": rows.dtype.itemsize,
    }


def bitmap(values: np.ndarray, bits: int) -> np.ndarray:
    """Bitmap of non-zero values (n,), then these values in fields of `bits`; uint8."""
    return np.concatenate([np.packbits(values != 0, bitorder="little"), packed(values[values != 0], bits)])


def relative_index(values: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Entries {zeros before the value, the value} of the non-zero values (n,), uint8, and their number.

    For more than 15 zeros before a value, entries {15, 0} represent 16 zeros each.
    """
    positions = np.flatnonzero(values)
    gaps = np.diff(positions, prepend=-1) - 1
    ends = np.cumsum((gaps >> INDEX_BITS) + 1) - 1
    most = (1 << INDEX_BITS) - 1
    entries = np.full(int(ends[-1]) + 1 if ends.size else 0, most, np.int64)
    entries[ends] = (gaps & most) | (values[positions].astype(np.int64) & ((1 << bits) - 1)) << INDEX_BITS
    return packed(entries, bits + INDEX_BITS), entries.size


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Integers (n,) in contiguous fields of `bits`, the low bits of a byte first; uint8."""
    portions = [values[at : at + _AT_ONCE] for at in range(0, values.size, _AT_ONCE)]
    return np.concatenate([np.zeros(0, np.uint8), *(pack_rows(part[np.newaxis], bits)[0] for part in portions)])


def _plain(rows: np.ndarray, kind: str) -> np.ndarray:
    """Rows of int16, or of int8, padded to whole groups in a convolution; (n,)."""
    if rows.dtype == np.int8 and kind not in ("DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"):
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % GROUP)))
    return np.ascontiguousarray(rows).reshape(-1)
