"""Byte ranges of the arena that an access reads or writes.

A buffer consists of lines, one for each row. A line holds the pixels of the host, the tensor that gives the buffer its
layout; a pixel has all channels of the host, so a channel slice is strided by a pixel of the host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from evaluation.graph import Graph, Tensor
from evaluation.graph.regions import Region, extent
from evaluation.interpreter.packing import pack_rows, packed_bytes, unpack_rows
from evaluation.interpreter.patch import Values
from evaluation.planner.ir.steps import Access, Buffer, Role

ScalarT = TypeVar("ScalarT", bound=np.generic)


@dataclass(frozen=True)
class Layout:
    """The part of a buffer's lines that one access touches."""

    columns: int
    """Pixels in a line."""
    pitch: int
    """Elements of a pixel of the host."""
    left: int
    right: int
    """First pixel touched, and one past the last."""
    channel: int
    channels: int
    """First element touched in a pixel, and number of elements."""
    bits: int
    dtype: str

    @property
    def row_bytes(self) -> int:
        return packed_bytes(self.columns * self.pitch, self.bits)

    @property
    def is_whole_pixels(self) -> bool:
        return self.channels == self.pitch


@dataclass(frozen=True)
class LineBlock:
    """The bytes that an access touches in `rows` consecutive lines, from byte `start` of the memory on."""

    start: int
    rows: int
    layout: Layout

    def get(self, array: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
        """Entries of these bytes in an array with one entry for each byte of the memory; the first axis is the
        lines."""
        lines, index = self._lines(array)
        found: npt.NDArray[ScalarT] = lines[index]
        return found

    def set(self, array: npt.NDArray[ScalarT], values: npt.NDArray[ScalarT] | int) -> None:
        """Set the entries of these bytes in an array with one entry for each byte of the memory."""
        lines, index = self._lines(array)
        lines[index] = values

    def load(self, memory: npt.NDArray[np.uint8]) -> Values:
        """A copy of the elements, (rows, columns, channels)."""
        layout = self.layout
        shape = self.rows, layout.right - layout.left, layout.channels
        if layout.bits >= 8:
            return np.array(self.get(memory), order="C").view(layout.dtype).reshape(shape)
        return self._elements(memory)[:, layout.left : layout.right, layout.channel : layout.channel + layout.channels]

    def store(self, memory: npt.NDArray[np.uint8], values: Values) -> None:
        """Write elements (rows, columns, channels); sub-byte neighbours that share a byte are preserved."""
        layout = self.layout
        values = np.ascontiguousarray(values.astype(layout.dtype, copy=False))
        if layout.bits >= 8:
            touched = self.get(memory)  # a view: only sub-byte slices are indexed by an array
            touched[...] = values.view(np.uint8).reshape(touched.shape)
            return
        if layout.is_whole_pixels and values.shape[1] == layout.columns:
            elements = values
        else:
            elements = self._elements(memory)
            elements[:, layout.left : layout.right, layout.channel : layout.channel + layout.channels] = values
        lines = memory[self.start : self.start + self.rows * layout.row_bytes].reshape(self.rows, -1)
        lines[...] = pack_rows(elements.reshape(self.rows, -1), layout.bits)

    def _elements(self, memory: npt.NDArray[np.uint8]) -> npt.NDArray[np.integer[Any]]:
        """All sub-byte elements of the lines, (rows, columns of the line, channels of the host)."""
        layout = self.layout
        lines = memory[self.start : self.start + self.rows * layout.row_bytes].reshape(self.rows, -1)
        elements = unpack_rows(lines, layout.bits, layout.columns * layout.pitch, layout.dtype)
        return elements.reshape(self.rows, layout.columns, layout.pitch)

    def _lines(
        self, array: npt.NDArray[ScalarT]
    ) -> tuple[npt.NDArray[ScalarT], tuple[slice | npt.NDArray[np.intp], ...]]:
        """The lines of an array, and the index of the bytes touched in them."""
        layout = self.layout
        lines = array[self.start : self.start + self.rows * layout.row_bytes].reshape(self.rows, -1)
        if layout.is_whole_pixels:
            first, end = layout.left * layout.pitch, layout.right * layout.pitch
            return lines, (slice(None), slice(first * layout.bits // 8, packed_bytes(end, layout.bits)))
        if layout.bits >= 8:
            size = layout.bits // 8
            first, end = layout.channel * size, (layout.channel + layout.channels) * size
            pixels = lines.reshape(self.rows, layout.columns, layout.pitch * size)
            return pixels, (slice(None), slice(layout.left, layout.right), slice(first, end))
        return lines, (slice(None), _bytes_of_slice(layout))


def blocks_of(graph: Graph, buffer: Buffer, start: int, access: Access) -> tuple[LineBlock, ...]:
    """The blocks that an access touches, top to bottom: one, or two where a row cache wraps around.

    Args:
        start: address of the buffer in the memory.

    Raises:
        ValueError: the buffer does not hold the tensor or region of the access, or is too small.
    """
    tensor, have = graph.tensors[access.tensor], buffer.region
    if access.tensor not in buffer.tensors or have is None:
        raise ValueError(f"buffer {buffer.name} does not hold {tensor.name}")
    want, layout = _layout(graph, buffer, have, access)
    if buffer.role is Role.ROW_CACHE:
        first, spans = want.top % have.bottom, []
        before_the_end = min(want.rows, have.bottom - first)
        spans.append((first, before_the_end))
        if before_the_end < want.rows:
            spans.append((0, want.rows - before_the_end))
    else:
        spans = [(want.top - have.top, want.rows)]
    if max(row + rows for row, rows in spans) * layout.row_bytes > buffer.size_bytes:
        raise ValueError(f"buffer {buffer.name} ends before {access.region} of {tensor.name} does")
    return tuple(LineBlock(start + row * layout.row_bytes, rows, layout) for row, rows in spans)


def _layout(graph: Graph, buffer: Buffer, have: Region, access: Access) -> tuple[Region, Layout]:
    """The region of an access in rows and columns of the host, and its layout in the buffer.

    Args:
        have: the buffer's region.
    """
    tensor, host, want = graph.tensors[access.tensor], graph.tensors[buffer.tensors[0]], access.region
    rows, columns, pitch = extent(host)
    channels = extent(tensor)[2]
    if extent(tensor)[:2] != (rows, columns):  # reshaped in place: the same elements in the host's layout
        all_of_it, all_of_host = Region(0, extent(tensor)[0], 0, extent(tensor)[1]), Region(0, rows, 0, columns)
        channels = tensor.elements // (rows * columns)
        if want != all_of_it or have != all_of_host or channels * rows * columns != tensor.elements:
            raise ValueError(f"{tensor.name} can only be reached whole in buffer {buffer.name}, which has other rows")
        want = all_of_host
    dtype, bits = _element(tensor, buffer)
    if bits != _element(host, buffer)[1] or access.channel < 0 or access.channel + channels > pitch:
        raise ValueError(
            f"buffer {buffer.name} has pixels of {pitch} elements of {_element(host, buffer)[1]} bits; "
            f"channels {access.channel} to {access.channel + channels} of {bits} bits do not fit"
        )
    is_ring = buffer.role is Role.ROW_CACHE
    inside = 0 <= want.top < want.bottom <= rows and want.rows <= have.rows if is_ring else _has_rows(have, want)
    if not inside or not have.left <= want.left < want.right <= have.right:
        raise ValueError(f"buffer {buffer.name} holds {have}, not {access.region} of {tensor.name}")
    left, right = want.left - have.left, want.right - have.left
    return want, Layout(have.columns, pitch, left, right, access.channel, channels, bits, dtype)


def _element(tensor: Tensor, buffer: Buffer) -> tuple[str, int]:
    """(dtype, bits) of an element of a tensor in a buffer."""
    if buffer.role is Role.LABELS:  # uint8, or int32 by TFLM's accounting, whatever the type of ARG_MAX in the file
        pixels = buffer.required_region.rows * buffer.required_region.columns
        return ("int32", 32) if buffer.size_bytes >= 4 * pixels else ("uint8", 8)
    return tensor.dtype, tensor.bits if tensor.bits < 8 else np.dtype(tensor.dtype).itemsize * 8


def _has_rows(outer: Region, inner: Region) -> bool:
    return outer.top <= inner.top < inner.bottom <= outer.bottom


def _bytes_of_slice(layout: Layout) -> npt.NDArray[np.intp]:
    """Ascending positions in a line of the bytes that hold the sub-byte elements of a channel slice."""
    pixels = np.arange(layout.left, layout.right)[:, np.newaxis] * layout.pitch
    first_bits = (pixels + np.arange(layout.channel, layout.channel + layout.channels)).reshape(-1) * layout.bits
    touched = np.zeros(layout.row_bytes, bool)
    touched[first_bits // 8] = touched[(first_bits + layout.bits - 1) // 8] = True
    return np.flatnonzero(touched)
