"""Where the part of a tensor that an access names is in the arena: which bytes of which lines.

A buffer holds lines, one for each row it has. In a line are the pixels of the host, the tensor that gives the buffer
its layout, and a pixel has the host's channels; so the channels of a slice are a whole pixel of the host apart.
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
    """Elements of a pixel, those of the host."""
    left: int
    right: int
    """First pixel touched, and one past the last."""
    channel: int
    channels: int
    """First element touched in a pixel, and how many."""
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
    """The bytes of `rows` consecutive lines, from byte `start` of the memory, that one access touches."""

    start: int
    rows: int
    layout: Layout

    def get(self, array: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
        """Their entries in an array with one entry for each byte of the memory; first axis the lines."""
        lines, index = self._lines(array)
        found: npt.NDArray[ScalarT] = lines[index]
        return found

    def set(self, array: npt.NDArray[ScalarT], values: npt.NDArray[ScalarT] | int) -> None:
        """Give them entries."""
        lines, index = self._lines(array)
        lines[index] = values

    def load(self, memory: npt.NDArray[np.uint8]) -> Values:
        """The elements there, copied out, (rows, columns, channels)."""
        layout = self.layout
        shape = self.rows, layout.right - layout.left, layout.channels
        if layout.bits >= 8:
            return np.array(self.get(memory), order="C").view(layout.dtype).reshape(shape)
        return self._codes(memory)[:, layout.left : layout.right, layout.channel : layout.channel + layout.channels]

    def store(self, memory: npt.NDArray[np.uint8], values: Values) -> None:
        """Write elements (rows, columns, channels); narrow neighbours that share a byte with them stay as they are."""
        layout = self.layout
        values = np.ascontiguousarray(values.astype(layout.dtype, copy=False))
        if layout.bits >= 8:
            touched = self.get(memory)  # a view: whole bytes are never picked one by one
            touched[...] = values.view(np.uint8).reshape(touched.shape)
            return
        if layout.is_whole_pixels and values.shape[1] == layout.columns:
            codes = values
        else:
            codes = self._codes(memory)
            codes[:, layout.left : layout.right, layout.channel : layout.channel + layout.channels] = values
        lines = memory[self.start : self.start + self.rows * layout.row_bytes].reshape(self.rows, -1)
        lines[...] = pack_rows(codes.reshape(self.rows, -1), layout.bits)

    def _codes(self, memory: npt.NDArray[np.uint8]) -> npt.NDArray[np.integer[Any]]:
        """All narrow elements of the lines, (rows, columns of the line, channels of the host)."""
        layout = self.layout
        lines = memory[self.start : self.start + self.rows * layout.row_bytes].reshape(self.rows, -1)
        codes = unpack_rows(lines, layout.bits, layout.columns * layout.pitch, layout.dtype)
        return codes.reshape(self.rows, layout.columns, layout.pitch)

    def _lines(
        self, array: npt.NDArray[ScalarT]
    ) -> tuple[npt.NDArray[ScalarT], tuple[slice | npt.NDArray[np.intp], ...]]:
        """The lines of an array, and the index of the bytes touched."""
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
    """The blocks an access touches, top to bottom: one, or two where a ring of rows begins again.

    Args:
        start: byte of the memory at which the buffer begins.

    Raises:
        ValueError: the buffer does not hold what the access names, or is too small for it.
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
    """The region an access touches, in the rows and columns of the buffer's host, and how it is there.

    Args:
        have: the buffer's region.
    """
    tensor, host, want = graph.tensors[access.tensor], graph.tensors[buffer.tensors[0]], access.region
    rows, columns, pitch = extent(host)
    channels = extent(tensor)[2]
    if extent(tensor)[:2] != (rows, columns):  # renamed in place (RESHAPE): the same elements, in the host's layout
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
    """(dtype, bits) of an element as it is in a buffer."""
    if buffer.role is Role.LABELS:  # a byte a pixel, or four by TFLM's accounting, whatever ARG_MAX has in the file
        pixels = buffer.required_region.rows * buffer.required_region.columns
        return ("int32", 32) if buffer.size_bytes >= 4 * pixels else ("uint8", 8)
    return tensor.dtype, tensor.bits if tensor.bits < 8 else np.dtype(tensor.dtype).itemsize * 8


def _has_rows(outer: Region, inner: Region) -> bool:
    return outer.top <= inner.top < inner.bottom <= outer.bottom


def _bytes_of_slice(layout: Layout) -> npt.NDArray[np.intp]:
    """Positions in a line of the bytes in which narrow elements of a channel slice are, in rising order."""
    pixels = np.arange(layout.left, layout.right)[:, np.newaxis] * layout.pitch
    first_bits = (pixels + np.arange(layout.channel, layout.channel + layout.channels)).reshape(-1) * layout.bits
    touched = np.zeros(layout.row_bytes, bool)
    touched[first_bits // 8] = touched[(first_bits + layout.bits - 1) // 8] = True
    return np.flatnonzero(touched)
