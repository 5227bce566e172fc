"""One block of bytes in which everything lies that changes during a run, read and written through a plan's buffers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.executor.packing import pack_rows, packed_bytes, unpack_rows
from evaluation.executor.patch import Patch
from evaluation.graph import Graph
from evaluation.planner.types import Access, Buffer, Region, Role, extent

NOBODY = -1


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
        self._places_read: list[np.ndarray] = []

    def begin_step(self) -> None:
        """Forget what the step before has read."""
        for place in self._places_read:
            self._reader[place] = NOBODY
        self._places_read.clear()

    def load(self, access: Access) -> Patch:
        """The part of a tensor that lies in a buffer, copied out."""
        held, rows, first, last, bits, dtype = self._place(access)
        if bits >= 8:
            place = rows[:, first * bits // 8 : last * bits // 8]
            self._note_read(access.buffer, place)
            values = self.memory[place].view(dtype)
        else:
            place = rows[:, first * bits // 8 : packed_bytes(last, bits)]
            self._note_read(access.buffer, place)
            values = unpack_rows(self.memory[rows], bits, held, dtype)[:, first:last]
        tensor = self._graph.tensors[access.tensor]
        region = access.region
        return Patch(tensor, region, values.reshape(region.rows, region.columns, extent(tensor)[2]))

    def store(self, access: Access, values: np.ndarray) -> None:
        """Write values (rows, columns, channels) where the plan says."""
        held, rows, first, last, bits, dtype = self._place(access)
        values = np.ascontiguousarray(values.reshape(access.region.rows, -1).astype(dtype))
        if bits >= 8:
            place = rows[:, first * bits // 8 : last * bits // 8]
            self.memory[place] = values.view(np.uint8)
        else:  # neighbours in the first and last byte stay as they are
            place = rows[:, first * bits // 8 : packed_bytes(last, bits)]
            line = unpack_rows(self.memory[rows], bits, held, dtype)
            line[:, first:last] = values
            self.memory[rows] = pack_rows(line, bits)
        self._note_write(access.buffer, place)

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
        place = np.arange(offset, offset + size)
        self._note_write(scratch, place)
        self.memory[place] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._note_read(scratch, place)
        return self.memory[place].view(values.dtype).reshape(values.shape)

    def _place(self, access: Access) -> tuple[int, np.ndarray, int, int, int, str]:
        """Where a region lies: elements in a row of the buffer, arena addresses (rows, bytes of a whole row), first and
        last element of the region in its row, bits of an element, dtype."""
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
        starts = buffer.offset + np.arange(want.top - have.top, want.bottom - have.top) * row_bytes
        rows = starts[:, np.newaxis] + np.arange(row_bytes)
        return held, rows, (want.left - have.left) * channels, (want.right - have.left) * channels, bits, dtype

    def _note_read(self, buffer: int, place: np.ndarray) -> None:
        if self.read is None:
            return
        self.read[place] = True
        self._reader[place] = buffer
        self._places_read.append(place)
        strange = self._writer[place] != buffer
        if strange.any():
            address = int(place[strange][0])
            writer = int(self._writer[address])
            name = "nobody" if writer == NOBODY else self._buffers[writer].name
            raise ValueError(
                f"byte {address} is read through buffer {self._buffers[buffer].name} "
                f"but was last written through {name}"
            )

    def _note_write(self, buffer: int, place: np.ndarray) -> None:
        if self.written is None:
            return
        readers = self._reader[place]
        spoiled = (readers != NOBODY) & (readers != buffer)
        if spoiled.any():
            raise ValueError(
                f"byte {int(place[spoiled][0])} is written through buffer {self._buffers[buffer].name} "
                f"in the step that reads it through {self._buffers[int(readers[spoiled][0])].name}"
            )
        self.written[place] = True
        self._writer[place] = buffer


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
