"""Storage of sparse and float16 weights of float32 kernels."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, Fields, KernelSite
from evaluation.kernels.constants import WeightFormat
from evaluation.kernels.weights import INDEX_BITS, Format, layer_storage


def stored_fields(site: KernelSite, rows: np.ndarray) -> Fields:
    """The members of `struct float_packed_layer` that describe the stored weights of a call.

    Args:
        rows: float32 (output channels, values).
    """
    storage, bits = layer_storage(site.graph, site.number), site.required_tensor(1).bits
    patterns = rows.astype(np.float16).view(np.uint16) if bits == 16 else np.ascontiguousarray(rows).view(np.uint32)
    entries = 0
    if storage.format is Format.DENSE:
        stored = _fields(patterns.reshape(-1), bits)
    elif storage.format is Format.BITMAP:
        is_kept = rows.reshape(-1) != 0
        stored = np.concatenate([np.packbits(is_kept, bitorder="little"), _fields(patterns.reshape(-1)[is_kept], bits)])
    else:
        listed = _entries(rows.reshape(-1), patterns.reshape(-1))
        entries = listed.size
        stored = _fields(listed, bits + INDEX_BITS)
    if stored.size != storage.kernel_bytes:
        raise ValueError(f"{site.operator.name}: {stored.size} bytes of weights, planned were {storage.kernel_bytes}")
    return {
        "stored": Constant(site.name_of("weights", 1), stored),
        "entries": entries,
        "format": WeightFormat[storage.format.name],
        "weight_bits": bits,
    }


def _entries(values: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Entries {zeros before the value, bits of the value} of each non-zero value, and fillers {15, 0}; uint64 (n,)."""
    positions = np.flatnonzero(values != 0)
    gaps = np.diff(positions, prepend=-1) - 1
    fillers = gaps >> INDEX_BITS
    ends = np.cumsum(fillers + 1) - 1
    most = (1 << INDEX_BITS) - 1
    entries = np.full(int(ends[-1]) + 1 if ends.size else 0, most, np.uint64)
    entries[ends] = (gaps & most).astype(np.uint64) | patterns[positions].astype(np.uint64) << np.uint64(INDEX_BITS)
    return entries


def _fields(patterns: np.ndarray, bits: int) -> np.ndarray:
    """Contiguous fields of `bits`, the low bits of a byte first; uint8 (n,)."""
    planes = np.unpackbits(patterns.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    return np.packbits(planes[:, :bits], bitorder="little")
