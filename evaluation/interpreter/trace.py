"""Trace of a run: the buffer through which each byte was last written, and the bytes that were read or written.

Errors are detected whatever the values are: a read of a byte that was last written through another buffer; a read of a
row that has been replaced in its row cache; and a write to a byte that the same step reads through another buffer,
which would corrupt the input of a kernel that reads while it writes. Writes through the same buffer are in-place
operation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from evaluation.interpreter.access_bytes import LineBlock
from evaluation.planner.ir.steps import Access, Buffer, Role

NOBODY = -1


class Watch:
    """Trace of one run."""

    def __init__(self, buffers: tuple[Buffer, ...], memory_bytes: int) -> None:
        self._buffers = buffers
        self.written = np.zeros(memory_bytes, bool)
        self.read = np.zeros(memory_bytes, bool)
        self._writer = np.full(memory_bytes, NOBODY, np.int32)
        self._reader = np.full(memory_bytes, NOBODY, np.int32)  # in the current step
        self._blocks_read: list[LineBlock] = []
        self._rows: dict[int, npt.NDArray[np.int64]] = {}
        """For each row cache, the row of the tensor in each of its rows."""

    def begin_step(self) -> None:
        """Clear the reads of the step before."""
        for block in self._blocks_read:
            block.set(self._reader, NOBODY)
        self._blocks_read.clear()

    def note_read(self, buffer: int, blocks: Sequence[LineBlock]) -> None:
        """Record that a step reads blocks through a buffer.

        Raises:
            ValueError: bytes of them were last written through another buffer, or never.
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
        """Record that a step writes blocks through a buffer.

        Raises:
            ValueError: the step reads bytes of them through another buffer.
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
        """Check a read of rows of a row cache.

        Raises:
            ValueError: the row cache holds other rows.
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
        """Record a write of rows to a row cache."""
        buffer = self._buffers[access.buffer]
        if buffer.role is Role.ROW_CACHE:
            rows = np.arange(access.region.top, access.region.bottom)
            self._ring(access.buffer)[rows % buffer.required_region.rows] = rows

    def _ring(self, buffer: int) -> npt.NDArray[np.int64]:
        return self._rows.setdefault(buffer, np.full(self._buffers[buffer].required_region.rows, NOBODY))
