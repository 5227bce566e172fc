"""What a traced run keeps in addition to its bytes: who wrote each of them last, and which were touched at all.

The trace makes a run its own judge. A read that meets a byte which its buffer did not write is an error at once,
whether or not the value happens to be right. So is a read of a ring at a row that another row has replaced, and so is a
write to a byte that the same step reads through another buffer, which would spoil the input of any kernel that reads
while it writes. Through the same buffer it is allowed: that is what working in place means.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluation.interpreter.access_bytes import LineBlock
from evaluation.planner.ir.steps import Access, Buffer, Role

NOBODY = -1


class Watch:
    """The record of one run."""

    def __init__(self, buffers: tuple[Buffer, ...], memory_bytes: int) -> None:
        self._buffers = buffers
        self.written = np.zeros(memory_bytes, bool)
        self.read = np.zeros(memory_bytes, bool)
        self._writer = np.full(memory_bytes, NOBODY, np.int32)
        self._reader = np.full(memory_bytes, NOBODY, np.int32)  # in the present step
        self._blocks_read: list[LineBlock] = []
        self._rows: dict[int, npt.NDArray[np.int64]] = {}
        """For each row cache, the row of the tensor that each of its rows holds."""

    def begin_step(self) -> None:
        """Forget what the step before has read."""
        for block in self._blocks_read:
            block.set(self._reader, NOBODY)
        self._blocks_read.clear()

    def note_read(self, buffer: int, blocks: Sequence[LineBlock]) -> None:
        """A step reads blocks through a buffer.

        Raises:
            ValueError: another buffer, or none, wrote there last.
        """
        for block in blocks:
            block.set(self.read, True)
            block.set(self._reader, buffer)
            self._blocks_read.append(block)
            writers = block.get(self._writer)
            if (writers != buffer).any():
                writer = int(writers[writers != buffer][0])
                name = "nobody" if writer == NOBODY else self._buffers[writer].name
                raise ValueError(
                    f"buffer {self._buffers[buffer].name} is read, but bytes of it were last written through {name}"
                )

    def note_write(self, buffer: int, blocks: Sequence[LineBlock]) -> None:
        """A step writes blocks through a buffer.

        Raises:
            ValueError: it reads bytes there through another buffer.
        """
        for block in blocks:
            readers = block.get(self._reader)
            spoiled = (readers != NOBODY) & (readers != buffer)
            if spoiled.any():
                raise ValueError(
                    f"buffer {self._buffers[buffer].name} is written over bytes of "
                    f"{self._buffers[int(readers[spoiled][0])].name} in the step that reads it"
                )
            block.set(self.written, True)
            block.set(self._writer, buffer)

    def note_ring_read(self, access: Access) -> None:
        """Rows of a ring are read.

        Raises:
            ValueError: it holds other rows now.
        """
        buffer = self._buffers[access.buffer]
        if buffer.role is not Role.ROW_CACHE:
            return
        wanted = np.arange(access.region.top, access.region.bottom)
        held = self._ring(access.buffer)[wanted % buffer.required_region.rows]
        if (held != wanted).any():
            row = int(wanted[held != wanted][0])
            raise ValueError(f"row cache {buffer.name} is read at row {row}, but that row is not there")

    def note_ring_write(self, access: Access) -> None:
        """Rows of a ring are written."""
        buffer = self._buffers[access.buffer]
        if buffer.role is Role.ROW_CACHE:
            rows = np.arange(access.region.top, access.region.bottom)
            self._ring(access.buffer)[rows % buffer.required_region.rows] = rows

    def _ring(self, buffer: int) -> npt.NDArray[np.int64]:
        return self._rows.setdefault(buffer, np.full(self._buffers[buffer].required_region.rows, NOBODY))
