"""The arena: one block of bytes with everything that changes during a run, accessed through a plan's buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from evaluation.graph import Graph, Tensor
from evaluation.graph.regions import Region
from evaluation.interpreter.access_bytes import Layout, LineBlock, blocks_of
from evaluation.interpreter.patch import NumberT, Patch, Values
from evaluation.interpreter.trace import Watch
from evaluation.planner.ir.steps import Access, Buffer, Role


class Arena:
    """The memory of a run, and a `Watch` of its bytes if the run is traced.

    A frame outside the arena (`Role.EXTERNAL_FRAME`) is stored behind it.
    """

    def __init__(
        self, graph: Graph, buffers: tuple[Buffer, ...], arena_bytes: int, *, fill: int = 0xA5, trace: bool = False
    ) -> None:
        """Fill the memory with `fill`."""
        self._graph = graph
        self._buffers = buffers
        self._arena_bytes = arena_bytes
        outside = [buffer for buffer in buffers if buffer.role is Role.EXTERNAL_FRAME]
        self._outside_from = min((buffer.offset for buffer in outside), default=0)
        outside_end = max((buffer.offset + buffer.size_bytes for buffer in outside), default=0)
        self._memory = np.full(arena_bytes + outside_end - self._outside_from, fill, np.uint8)
        self._watch = Watch(buffers, self._memory.size) if trace else None

    @property
    def memory(self) -> npt.NDArray[np.uint8]:
        """The bytes of the arena, without an external frame."""
        return self._memory[: self._arena_bytes]

    @property
    def touched(self) -> tuple[npt.NDArray[np.bool], npt.NDArray[np.bool]] | None:
        """Masks of the bytes of the arena that were written, and that were read; None if the run is not traced."""
        if self._watch is None:
            return None
        return self._watch.written[: self._arena_bytes], self._watch.read[: self._arena_bytes]

    def begin_step(self) -> None:
        """Begin the next step of the trace."""
        if self._watch is not None:
            self._watch.begin_step()

    def load(self, group: Sequence[Access]) -> Patch:
        """A copy of consecutive rows of one tensor, from one buffer or several.

        Raises:
            ValueError: the rows are not consecutive, a buffer does not hold its part, or (traced) the part was
                overwritten.
        """
        tensor, region = _union(self._graph, group)
        values = [block.load(self._memory) for access in group for block in self._read(access)]
        joined = values[0] if len(values) == 1 else np.concatenate(values)
        return Patch(tensor, region, joined.reshape(region.rows, region.columns, -1))

    def store(self, group: Sequence[Access], values: Values) -> None:
        """Write values (rows, columns, channels) of consecutive rows of one tensor to the buffers of a group of
        accesses.

        Raises:
            ValueError: as of `load`.
        """
        _, region = _union(self._graph, group)
        for access in group:
            blocks = self._blocks(access)
            if self._watch is not None:
                self._watch.note_write(access.buffer, blocks)
                self._watch.note_ring_write(access)
            part = values.reshape(region.rows, region.columns, -1)
            part = part[access.region.top - region.top : access.region.bottom - region.top]
            done = 0
            for block in blocks:
                layout = block.layout
                shape = -1, layout.right - layout.left, layout.channels
                block.store(self._memory, part.reshape(shape)[done : done + block.rows])
                done += block.rows

    def keep(self, buffer: int | None, step: str, values: npt.NDArray[NumberT]) -> npt.NDArray[NumberT]:
        """Write working values to a scratch buffer and read them back, so that a run uses the scratch that its plan
        counts."""
        self.store_raw(buffer, step, values)
        return self.load_raw(buffer, step, values.dtype, values.size).reshape(values.shape)

    def store_raw(self, buffer: int | None, step: str, values: Values) -> None:
        """Write values to the start of a buffer without a tensor: scratch or an accumulator.

        Raises:
            ValueError: the plan gives the step no such buffer, or a smaller one.
        """
        size_bytes = values.size * values.dtype.itemsize
        given = self._given(buffer, step, size_bytes)
        blocks = self._line(given, size_bytes)
        if self._watch is not None:
            self._watch.note_write(given, blocks)
        blocks[0].set(self._memory, np.ascontiguousarray(values).reshape(1, -1).view(np.uint8))

    def load_raw(self, buffer: int | None, step: str, dtype: np.dtype[NumberT], elements: int) -> npt.NDArray[NumberT]:
        """A copy of the values at the start of a buffer without a tensor, (elements,). Raises as `store_raw`."""
        size_bytes = elements * dtype.itemsize
        given = self._given(buffer, step, size_bytes)
        blocks = self._line(given, size_bytes)
        if self._watch is not None:
            self._watch.note_read(given, blocks)
        return np.array(blocks[0].get(self._memory)).view(dtype).reshape(-1)

    def _read(self, access: Access) -> tuple[LineBlock, ...]:
        blocks = self._blocks(access)
        if self._watch is not None:
            self._watch.note_read(access.buffer, blocks)
            self._watch.note_ring_read(access)
        return blocks

    def _blocks(self, access: Access) -> tuple[LineBlock, ...]:
        buffer = self._buffers[access.buffer]
        return blocks_of(self._graph, buffer, self._start(buffer), access)

    def _given(self, buffer: int | None, step: str, size_bytes: int) -> int:
        """The buffer that the plan gives a step, checked for its size. Raises as `store_raw`."""
        have = 0 if buffer is None else self._buffers[buffer].size_bytes
        if buffer is None or size_bytes > have:
            kind = "scratch" if buffer is None else self._buffers[buffer].role
            raise ValueError(f"{step} needs {size_bytes} bytes of {kind}, but the plan gives it {have}")
        return buffer

    def _line(self, buffer: int, size_bytes: int) -> tuple[LineBlock]:
        """The first bytes of a buffer as one line."""
        line = Layout(size_bytes, 1, 0, size_bytes, 0, 1, 8, "uint8")
        return (LineBlock(self._start(self._buffers[buffer]), 1, line),)

    def _start(self, buffer: Buffer) -> int:
        """Address of a buffer in the memory."""
        if buffer.role is Role.EXTERNAL_FRAME:
            return self._arena_bytes + buffer.offset - self._outside_from
        if buffer.offset < 0 or buffer.offset + buffer.size_bytes > self._arena_bytes:
            raise ValueError(f"buffer {buffer.name} ends beyond the arena")
        return buffer.offset


@dataclass(frozen=True)
class ArenaScratch:
    """The scratch buffer of one step, as a `Scratch`."""

    arena: Arena
    buffer: int | None
    step: str

    def keep(self, values: npt.NDArray[NumberT]) -> npt.NDArray[NumberT]:
        """See `Arena.keep`."""
        return self.arena.keep(self.buffer, self.step, values)


def _union(graph: Graph, group: Sequence[Access]) -> tuple[Tensor, Region]:
    """The tensor of a group of accesses, and the union of their regions."""
    if not group:
        raise ValueError("a step reads or writes a tensor through no buffer at all")
    first, last = group[0], group[-1]
    tensor = graph.tensors[first.tensor]
    for above, below in pairwise(group):
        same_columns = (above.region.left, above.region.right) == (below.region.left, below.region.right)
        if above.tensor != below.tensor or above.region.bottom != below.region.top or not same_columns:
            raise ValueError(f"{tensor.name}: {below.region} does not go on where {above.region} ends")
    return tensor, Region(first.region.top, last.region.bottom, first.region.left, first.region.right)
