"""One block of bytes in which everything lies that changes during a run, read and written through a plan's buffers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.executor.packing import pack_rows, packed_bytes, unpack_rows
from evaluation.executor.patch import Patch
from evaluation.graph import Graph
from evaluation.planner.types import Access, Buffer, Region, Role, extent

NOBODY = -1


@dataclass(frozen=True)
class Block:
    """Bytes [first, last) of each of `rows` lines of `row_bytes`, which begin at byte `start` of the arena."""

    start: int
    rows: int
    row_bytes: int
    first: int
    last: int

    def columns(self, first: int, last: int) -> Block:
        """Other bytes of the same lines."""
        return Block(self.start, self.rows, self.row_bytes, first, last)

    def of(self, array: np.ndarray) -> np.ndarray:
        """A view (rows, bytes) of an array with one entry for each byte of the arena."""
        lines = array[self.start : self.start + self.rows * self.row_bytes]
        return lines.reshape(self.rows, self.row_bytes)[:, self.first : self.last]


class Arena:
    """The bytes of a run, and, when traced, which buffer wrote each of them last.

    The trace makes a run its own judge. A read that meets a byte which its buffer did not write is an error at once,
    whether or not the value happens to be right; and so is a write to a byte that the same step reads through another
    buffer, which would spoil the input of any kernel that reads while it writes.
    """

    def __init__(
        self, graph: Graph, buffers: tuple[Buffer, ...], arena_bytes: int, *, fill: int = 0xA5, trace: bool = False
    ) -> None:
        """All `arena_bytes` hold `fill` before the run."""
        self._graph = graph
        self._buffers = buffers
        self.memory = np.frombuffer(bytearray([fill]) * arena_bytes, np.uint8)
        self.written = np.zeros(arena_bytes, bool) if trace else None
        self.read = np.zeros(arena_bytes, bool) if trace else None
        self._writer = np.full(arena_bytes, NOBODY, np.int32) if trace else None
        self._reader = np.full(arena_bytes, NOBODY, np.int32) if trace else None  # in the present step
        self._blocks_read: list[Block] = []

    def begin_step(self) -> None:
        """Forget what the step before has read."""
        for block in self._blocks_read:
            block.of(self._reader)[...] = NOBODY
        self._blocks_read.clear()

    def load(self, access: Access) -> Patch:
        """The part of a tensor that lies in a buffer, copied out."""
        lines, held, first, last, bits, dtype = self._place(access)
        block = lines.columns(first * bits // 8, packed_bytes(last, bits))
        self._note_read(access.buffer, block)
        if bits >= 8:
            values = np.ascontiguousarray(block.of(self.memory)).view(dtype).copy()
        else:
            values = unpack_rows(lines.of(self.memory), bits, held, dtype)[:, first:last]
        tensor = self._graph.tensors[access.tensor]
        region = access.region
        return Patch(tensor, region, values.reshape(region.rows, region.columns, extent(tensor)[2]))

    def store(self, access: Access, values: np.ndarray) -> None:
        """Write values (rows, columns, channels) where the plan says."""
        lines, held, first, last, bits, dtype = self._place(access)
        block = lines.columns(first * bits // 8, packed_bytes(last, bits))
        self._note_write(access.buffer, block)
        values = np.ascontiguousarray(values.reshape(access.region.rows, -1).astype(dtype))
        if bits >= 8:
            block.of(self.memory)[...] = values.view(np.uint8)
        else:  # neighbours in the first and last byte stay as they are
            line = unpack_rows(lines.of(self.memory), bits, held, dtype)
            line[:, first:last] = values
            lines.of(self.memory)[...] = pack_rows(line, bits)

    def keep(self, scratch: int | None, step: str, values: np.ndarray) -> np.ndarray:
        """Write working values at the start of a scratch buffer and read them back: what is counted is what is used.

        Raises:
            ValueError: the plan gives the step too little scratch, or none.
        """
        size = values.size * values.dtype.itemsize
        have = 0 if scratch is None else self._buffers[scratch].size_bytes
        if size > have:
            raise ValueError(f"{step} needs {size} bytes of scratch, but the plan gives it {have}")
        offset = self._buffers[scratch].offset
        if offset < 0 or offset + size > self.memory.size:
            raise ValueError(f"buffer {self._buffers[scratch].name} ends before the scratch of {step} does")
        block = Block(offset, 1, size, 0, size)
        self._note_write(scratch, block)
        block.of(self.memory)[...] = np.ascontiguousarray(values).reshape(1, -1).view(np.uint8)
        self._note_read(scratch, block)
        return block.of(self.memory).copy().view(values.dtype).reshape(values.shape)

    def _place(self, access: Access) -> tuple[Block, int, int, int, int, str]:
        """Where a region lies: whole lines of the buffer, elements in such a line, first and last element of the region
        in it, bits of an element, dtype."""
        buffer, tensor = self._buffers[access.buffer], self._graph.tensors[access.tensor]
        dtype = tensor.dtype
        if buffer.role is Role.LABELS:  # a byte a pixel, or four by TFLM's accounting, whatever ARG_MAX has in the file
            dtype = "uint8" if buffer.size_bytes < tensor.elements * 4 else "int32"
        bits = tensor.bits if tensor.bits < 8 else np.dtype(dtype).itemsize * 8
        have, want, channels = buffer.region, access.region, extent(tensor)[2]
        if access.tensor not in buffer.tensors or have is None or not _contains(have, want):
            raise ValueError(f"buffer {buffer.name} holds {have}, not {want} of {tensor.name}")
        held = have.columns * channels
        row_bytes = packed_bytes(held, bits)
        end = buffer.offset + (want.bottom - have.top) * row_bytes
        if (want.bottom - have.top) * row_bytes > buffer.size_bytes or end > self.memory.size or buffer.offset < 0:
            raise ValueError(f"buffer {buffer.name} ends before {want} of {tensor.name} does")
        lines = Block(buffer.offset + (want.top - have.top) * row_bytes, want.rows, row_bytes, 0, row_bytes)
        return lines, held, (want.left - have.left) * channels, (want.right - have.left) * channels, bits, dtype

    def _note_read(self, buffer: int, block: Block) -> None:
        if self.read is None:
            return
        block.of(self.read)[...] = True
        block.of(self._reader)[...] = buffer
        self._blocks_read.append(block)
        writers = block.of(self._writer)
        if (writers != buffer).any():
            writer = int(writers[writers != buffer][0])
            name = "nobody" if writer == NOBODY else self._buffers[writer].name
            raise ValueError(
                f"buffer {self._buffers[buffer].name} is read, but bytes of it were last written through {name}"
            )

    def _note_write(self, buffer: int, block: Block) -> None:
        if self.written is None:
            return
        readers = block.of(self._reader)
        spoiled = (readers != NOBODY) & (readers != buffer)
        if spoiled.any():
            raise ValueError(
                f"buffer {self._buffers[buffer].name} is written over bytes of "
                f"{self._buffers[int(readers[spoiled][0])].name} in the step that reads it"
            )
        block.of(self.written)[...] = True
        block.of(self._writer)[...] = buffer


@dataclass(frozen=True)
class ArenaScratch:
    """The working memory of one step, as a kernel sees it."""

    arena: Arena
    buffer: int | None
    step: str

    def keep(self, values: np.ndarray) -> np.ndarray:
        """See `Arena.keep`."""
        return self.arena.keep(self.buffer, self.step, values)


def _contains(outer: Region, inner: Region) -> bool:
    return (
        outer.top <= inner.top < inner.bottom <= outer.bottom and outer.left <= inner.left < inner.right <= outer.right
    )
