"""Tiled reductions: pools over the whole image that add their input tile by tile.

Between steps the only state is the accumulator in the arena. Each step reads it, adds a region of the input and writes
it back; the last step computes the output as the untiled kernel does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.graph.regions import Region, extent
from evaluation.interpreter.arena import Arena
from evaluation.interpreter.patch import PatchCall, Values
from evaluation.interpreter.pooling import add_pixels, finish_sums, no_sums


class TiledReductions:
    """The reductions of a run, with the pixels that were added to each accumulator."""

    def __init__(self) -> None:
        self._taken: dict[int, npt.NDArray[np.bool]] = {}

    def add(self, arena: Arena, call: PatchCall, accumulator: int, *, is_last: bool) -> Values | None:
        """Add the region that a step reads; returns the output where the step writes it.

        Args:
            accumulator: index of the buffer.
            is_last: whether the step writes the output.

        Raises:
            ValueError: an element is added twice, the output is written before all are added, or float elements are
                added out of order, which would change the rounding of their sum.
        """
        name, empty = call.operator.name, no_sums(call)
        sums = empty
        if accumulator in self._taken:
            sums = arena.load_raw(accumulator, name, empty.dtype, empty.size)
        self._take(call, accumulator)
        arena.store_raw(accumulator, name, add_pixels(sums, call.first.values))
        if not is_last:
            return None
        if not self._taken[accumulator].all():
            raise ValueError(f"{name}: the output is written before all of {call.first.tensor.name} is read")
        return finish_sums(call, arena.load_raw(accumulator, name, empty.dtype, empty.size))

    def _take(self, call: PatchCall, accumulator: int) -> None:
        source, region = call.first.tensor, call.first.region
        rows, columns, _ = extent(source)
        taken = self._taken.setdefault(accumulator, np.zeros((rows, columns), bool))
        part = taken[region.top : region.bottom, region.left : region.right]
        if part.any():
            raise ValueError(f"{call.operator.name}: {region} of {source.name} is added for a second time")
        if source.dtype == "float32" and not _is_next(taken, region):
            raise ValueError(f"{call.operator.name}: float sums take whole rows in order, not {region}")
        part[...] = True


def _is_next(taken: npt.NDArray[np.bool], region: Region) -> bool:
    """Whether a region consists of whole rows directly below those already added."""
    return (region.left, region.right) == (0, taken.shape[1]) and region.top == np.count_nonzero(taken[:, 0])
