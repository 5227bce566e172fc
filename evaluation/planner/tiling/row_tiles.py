"""The rows of each storage that each row tile of a section computes and reads.

A section is a run of calls [first, end) computed in n row tiles: row tile k runs all calls before row tile k + 1
begins. The last output's rows are shared out evenly; the rows that every other storage must hold follow backwards from
its readers. A storage's rows are treated in one of two ways:

- *once*: row tile k computes the rows that no row tile before it has computed. Those that later row tiles read again
  are kept, in a row cache, or in the storage itself if it outlives the section;
- *again*: row tile k computes all rows it reads, the halo included.

The first row tile of a section must fill the windows of all calls and computes more rows than those after it. A *lead*
spreads that over row tiles of their own at the beginning, which compute rows of the storages between, at the pace of
the later row tiles, and none of the last output.

Row tiles of several schemes, and of several ends, are computed at once, stacked in one array, because pricing a section
asks for all of them. All sections with the same `end` share these rows: they follow from the calls after a storage
alone.

The same arithmetic serves columns (`axis=COLUMNS`), where column tiles take the place of row tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.graph.geometry import ROWS
from evaluation.planner.ir.sections import Halo
from evaluation.planner.ir.storage_graph import StorageCall, StorageGraph

_FAR = 1 << 40
_WIDENING = 2
"""A tensor this many times as large as its input is a wide one, computed again rather than kept in a MIXED section."""


@dataclass(frozen=True)
class AxisSplit:
    """A split of one axis of a section into tiles."""

    count: int
    """Row tiles in all."""
    halo: Halo
    lead: int = 0
    """Row tiles at the beginning that compute nothing of the last output."""


@dataclass(frozen=True, eq=False)
class AxisTiles:
    """Row tiles of several splits, stacked: those of splits[0] first, then those of splits[1], ..."""

    splits: tuple[AxisSplit, ...]
    begins: npt.NDArray[np.int64]
    """Index of the first row tile of each split."""
    ends: npt.NDArray[np.int64]
    """Index of the last row tile of each split."""
    group: npt.NDArray[np.int64]
    """For each row tile, which split it belongs to."""
    again: npt.NDArray[np.bool]
    """For each row tile, whether all storages are computed again."""
    wide_again: npt.NDArray[np.bool]
    """For each row tile, whether wide storages are computed again."""
    position: npt.NDArray[np.int64]
    """For each row tile, how many of its split come before it."""
    ahead: npt.NDArray[np.int64]
    """For each row tile, how many row tiles come until the first that computes some of the last output."""
    lead: npt.NDArray[np.int64]
    """For each row tile, how many of its split, at the beginning, compute nothing of the last output."""
    working: npt.NDArray[np.int64]
    """For each row tile, how many row tiles of its split compute some of the last output."""
    lift: npt.NDArray[np.int64]
    """Keeps splits apart where values are accumulated over row tiles."""

    @staticmethod
    def of(splits: Sequence[AxisSplit]) -> AxisTiles:
        sizes = np.array([split.count for split in splits], np.int64)
        leads = np.array([split.lead for split in splits], np.int64)
        ends = np.cumsum(sizes) - 1
        group = np.repeat(np.arange(len(sizes)), sizes)
        position = np.arange(len(group)) - (ends - sizes + 1)[group]
        again = np.array([split.halo is Halo.RECOMPUTE for split in splits])
        mixed = np.array([split.halo is Halo.MIXED for split in splits])
        return AxisTiles(
            tuple(splits),
            begins=ends - sizes + 1,
            ends=ends,
            group=group,
            again=again[group],
            wide_again=mixed[group],
            position=position,
            ahead=np.maximum(leads[group] - position, 0),
            lead=leads[group],
            working=(sizes - leads)[group],
            lift=group * _FAR,
        )

    def shares(self, rows: int) -> npt.NDArray[np.int64]:
        """End of each row tile when `rows` are shared out evenly."""
        done: npt.NDArray[np.int64] = np.maximum(self.position + 1 - self.lead, 0)
        return done * rows // self.working

    def shifted(self, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For each row tile the value of the one before it; 0 for the first."""
        before = np.empty_like(ends)
        before[1:] = ends[:-1]
        before[self.begins] = 0
        return before

    def largest_so_far(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Largest value of this row tile and those before it."""
        return np.maximum.accumulate(values + self.lift) - self.lift

    def least_from_here(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Least value of this row tile and those after it."""
        return np.minimum.accumulate((values + self.lift)[::-1])[::-1] - self.lift

    def with_lead(self, ends: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
        """`ends` of a storage of so many rows, with its part of the leading row tiles filled in."""
        if not self.ahead.any():
            return ends
        first = ends[(self.begins + self.ahead[self.begins])[self.group]]
        pace = -(-rows // self.working)
        return np.where(self.ahead > 0, np.maximum(ends, first - self.ahead * pace), ends)


@dataclass(frozen=True, eq=False)
class AxisSpan:
    """Rows of one storage, by row tile."""

    top: npt.NDArray[np.int64]
    bottom: npt.NDArray[np.int64]
    """Row tile k computes rows [top, bottom); none where top >= bottom."""
    once: npt.NDArray[np.bool]
    """bool: whether its rows are computed once."""
    kept: npt.NDArray[np.bool]
    """bool: whether the storage outlives the section."""
    known: npt.NDArray[np.bool]
    """bool: whether the section has a call that writes the storage; where not, the row tile computes no row of it."""

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Number of rows that each row tile computes."""
        counts: npt.NDArray[np.int64] = np.maximum(self.bottom - self.top, 0)
        return counts

    def where(self, inside: npt.NDArray[np.bool]) -> AxisSpan:
        """This span in some row tiles; in the others none."""
        if inside.all():
            return self
        return AxisSpan(
            np.where(inside, self.top, 0), np.where(inside, self.bottom, 0), self.once, self.kept, self.known & inside
        )

    def completed(self, other: AxisSpan) -> AxisSpan:
        """This span where it is known, and `other` elsewhere."""
        return AxisSpan(
            np.where(self.known, self.top, other.top),
            np.where(self.known, self.bottom, other.bottom),
            np.where(self.known, self.once, other.once),
            np.where(self.known, self.kept, other.kept),
            self.known | other.known,
        )


@dataclass(frozen=True, eq=False)
class _Demand:
    """The rows of a storage that its readers ask for, by row tile."""

    bottom: npt.NDArray[np.int64]
    top: npt.NDArray[np.int64]
    asked: npt.NDArray[np.bool]
    """bool: whether the section has a reader among the calls passed."""


class Sweep:
    """A backward pass over the calls, with the rows of each storage that the calls passed so far need.

    The row tiles may be of sections with several ends; a call is passed by those that end behind it.
    """

    def __init__(
        self,
        storage_graph: StorageGraph,
        ends: int | npt.NDArray[np.int64],
        row_tiles: AxisTiles,
        wide: frozenset[int] = frozenset(),
        axis: int = ROWS,
    ) -> None:
        """
        Args:
            ends: end of the section; for each row tile, if not all the same.
            wide: storages that a MIXED section computes again.
        """
        self._storage_graph, self._row_tiles, self._wide, self._axis = storage_graph, row_tiles, wide, axis
        self._ends = np.broadcast_to(np.asarray(ends, np.int64), row_tiles.group.shape)
        self.spans: dict[int, AxisSpan] = {}
        """Spans by storage, for those whose last writer in a section has been passed."""
        self.reductions: dict[int, AxisSpan] = {}
        """Spans by call, for the running reductions passed: the rows of the input that each row tile adds."""
        self._demands: dict[int, _Demand] = {}

    def take(self, index: int) -> AxisSpan:
        """Pass call `index` (the one before those passed) and return the rows that it computes of its output."""
        call, inside = self._storage_graph.calls[index], self._ends > index
        if call.reduces:
            return self._take_reduction(index, call, inside)
        span = self.spans.get(call.output)
        if span is None:
            span = self.spans[call.output] = self._span(call.output).where(inside)
        elif (inside > span.known).any():
            span = self.spans[call.output] = span.completed(self._span(call.output).where(inside))
        active = span.top < span.bottom
        top = np.where(active, span.top, 0)
        last = np.where(active, span.bottom - 1, 0)
        for operand, need in zip(call.reads, call.tile_needs, strict=True):
            if operand.storage == call.output:
                continue  # in place: it rewrites the very rows it reads
            first, end = need[self._axis]
            self._ask(operand.storage, np.where(active, first[top], _FAR), np.where(active, end[last], 0), inside)
        return span

    def low(self, storage: int) -> npt.NDArray[np.int64]:
        """For each row tile the first row of `storage` that it or a later row tile reads; the number of rows if
        none."""
        size = self._size(storage)
        demand = self._demands.get(storage)
        if demand is None:
            return np.full(self._row_tiles.group.shape, size, np.int64)
        return self._row_tiles.least_from_here(np.minimum(demand.top, size))

    def has_readers(self, storage: int) -> npt.NDArray[np.bool]:
        """bool by row tile: whether its section has a reader of `storage` among the calls passed."""
        demand = self._demands.get(storage)
        return np.zeros(self._row_tiles.group.shape, bool) if demand is None else demand.asked

    def kept_rows(self, storage: int) -> npt.NDArray[np.int64]:
        """For each split, how many rows of a storage computed once its row cache must hold."""
        span = self.spans[storage]
        carried = np.where(span.once, np.maximum(span.top - self.low(storage), 0), 0)
        return np.maximum.reduceat(carried, self._row_tiles.begins)

    def _take_reduction(self, index: int, call: StorageCall, inside: npt.NDArray[np.bool]) -> AxisSpan:
        """Pass a running reduction, which writes in the last row tile and reads the rows of its input not read
        before."""
        source = call.reads[0].storage
        size = self._size(source)
        ends = self._row_tiles.shares(size)
        demand = self._demands.get(source)
        if demand is not None:  # other readers set the pace
            paced = self._row_tiles.largest_so_far(demand.bottom)
            paced[self._row_tiles.ends] = size
            ends = np.where(demand.asked, paced, ends)
        before = self._row_tiles.shifted(ends)
        everywhere = np.ones(ends.shape, bool)
        self.reductions[index] = AxisSpan(before, ends, everywhere, ~everywhere, everywhere).where(inside)
        self._ask(source, np.where(inside & (before < ends), before, _FAR), np.where(inside, ends, 0), inside)
        one = np.zeros_like(ends)
        one[self._row_tiles.ends] = self._size(call.output)
        span = AxisSpan(np.zeros_like(ends), one, everywhere, everywhere, everywhere).where(inside)
        self.spans[call.output] = span
        return span

    def _span(self, storage: int) -> AxisSpan:
        """The rows of a storage that nothing before the calls passed writes."""
        entry, size, row_tiles = self._storage_graph.storages[storage], self._size(storage), self._row_tiles
        kept = entry.last >= self._ends
        everywhere = np.ones(kept.shape, bool)
        demand = self._demands.get(storage)
        if demand is None:
            bottom = row_tiles.shares(size)
            return AxisSpan(row_tiles.shifted(bottom), bottom, everywhere, kept, everywhere)
        bottom = row_tiles.largest_so_far(row_tiles.with_lead(demand.bottom, size))
        if kept.any():
            whole = kept[row_tiles.ends]
            bottom[row_tiles.ends[whole]] = size
        if not demand.asked.all():
            bottom = np.where(demand.asked, bottom, row_tiles.shares(size))
        again = row_tiles.again | row_tiles.wide_again if storage in self._wide else row_tiles.again
        again = again & demand.asked & ~kept
        if self._axis == ROWS:
            # A storage that the first row tile needs whole (the result of a global pool, say) is not computed a second
            # time.
            again &= (demand.bottom[row_tiles.begins] < size)[row_tiles.group]
        top = np.where(again, np.minimum(demand.top, size), row_tiles.shifted(bottom))
        return AxisSpan(top, np.where(again, demand.bottom, bottom), ~again, kept, everywhere)

    def _ask(
        self, storage: int, top: npt.NDArray[np.int64], bottom: npt.NDArray[np.int64], inside: npt.NDArray[np.bool]
    ) -> None:
        """Note that readers `inside` read rows [top, bottom) of a storage."""
        known = self._demands.get(storage)
        if known is not None:
            top, bottom, inside = np.minimum(known.top, top), np.maximum(known.bottom, bottom), known.asked | inside
        self._demands[storage] = _Demand(bottom, top, inside)

    def _size(self, storage: int) -> int:
        entry = self._storage_graph.storages[storage]
        return entry.rows if self._axis == ROWS else entry.columns


def wide_storages(storage_graph: StorageGraph) -> frozenset[int]:
    """Storages that are much larger than the inputs they are computed from."""
    wide = set()
    for call in storage_graph.calls:
        if not call.tileable or not call.reads or call.reads[0].storage == call.output:
            continue
        source, output = storage_graph.storages[call.reads[0].storage], storage_graph.storages[call.output]
        if output.size_bytes >= _WIDENING * source.size_bytes:
            wide.add(call.output)
    return frozenset(wide)
