"""Price the ways to split a network into sections: the bytes and the MACs of each candidate.

The bytes of a section are those of its own tiles and row caches at the fullest step, and of the tensors between
sections. Of the latter each keeps its rows together, so that one which grows can follow close behind one that shrinks
(`_SectionCosts._shared`), but not behind two: the price is that of an arrangement which exists, as long as neighbouring
sections do not demand another. It is therefore mostly above the bytes alive, and mostly near the arena in the end.

A price depends on the section's own calls alone: a tensor from before it dies as its row tiles read it, one that
outlives it grows as they write it. So every candidate [first, end) is priced once, for all schemes together, and the
best sequence of sections is a shortest path (`path`). One backward sweep (`row_tiles`) serves all candidates with some
ends.

Not every candidate is priced. Everything alive at a boundary between sections is whole there, so no plan through it has
a lower peak than that sum; and tiled sections mostly begin and end where the network is narrow (`narrows`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from evaluation.graph.geometry import COLUMNS
from evaluation.planner.ir.sections import Halo, tile_at
from evaluation.planner.ir.storage_graph import Storage, StorageCall, StorageGraph
from evaluation.planner.tiling.row_tiles import AxisSpan, AxisSplit, AxisTiles, Sweep, wide_storages

_TOGETHER = 2048
"""Tiles of one call, in all ends and schemes, that are priced in one array: enough for numpy, and within the cache."""

NEVER = np.iinfo(np.int64).max // 4
"""Live bytes of a section that is impossible."""


@dataclass(frozen=True)
class TilingScheme:
    """A way to compute a section: row tiles, column tiles, and the treatment of the halo."""

    rows: int
    columns: int
    halo: Halo
    lead: int = 0
    """Row tiles at the beginning that compute nothing of the last output (see `row_tiles`)."""

    @property
    def tiles(self) -> int:
        return self.rows * self.columns

    def order(self) -> list[tuple[int, int]]:
        """(row tile, column tile) of each tile, in the order in which they run."""
        return [tile_at(number, self.rows, self.columns, self.halo) for number in range(self.tiles)]


UNTILED = TilingScheme(1, 1, Halo.NONE)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Prices of sections. A section that is impossible, or costs more MACs than allowed, has `NEVER` bytes."""

    schemes: tuple[TilingScheme, ...]
    price_bytes: npt.NDArray[np.int64]
    """int64 (calls, calls + 1, schemes): the bytes of section [first, end)."""
    extra_macs: npt.NDArray[np.int64]
    """int64, same shape: MACs beyond the untiled ones."""

    def among(self, keep: Sequence[int]) -> Candidates:
        """Only the schemes at these positions."""
        schemes = tuple(self.schemes[index] for index in keep)
        return Candidates(schemes, self.price_bytes[:, :, keep], self.extra_macs[:, :, keep])


def boundary_bytes(storage_graph: StorageGraph) -> npt.NDArray[np.int64]:
    """int64 (calls + 1,): bytes alive between call i - 1 and call i."""
    crossing = np.zeros(len(storage_graph.calls) + 1, np.int64)
    for storage in storage_graph.storages:
        if storage_graph.counted(storage):
            crossing[storage.first + 1 : storage.last + 1] += storage.size_bytes
    return crossing


def barriers(storage_graph: StorageGraph) -> list[int]:
    """Boundaries that every choice of sections has, 0 among them: around a call that only runs whole, and before one
    that reads the result of a global pool."""
    found = {0}
    reduced: set[int] = set()
    for index, call in enumerate(storage_graph.calls):
        if not call.tileable and not call.reduces:
            found |= {index, index + 1}
        elif any(operand.storage in reduced for operand in call.reads):
            found.add(index)
        if call.reduces:
            reduced.add(call.output)
    return sorted(found - {len(storage_graph.calls)})


def narrows(storage_graph: StorageGraph) -> list[int]:
    """Boundaries at which no more is alive than at those next to them, the ends among them."""
    crossing = boundary_bytes(storage_graph)
    last = len(crossing) - 1
    return [
        i
        for i in range(last + 1)
        if i in (0, last) or (crossing[i] <= crossing[i - 1] and crossing[i] <= crossing[i + 1])
    ]


class Pricing:
    """Prices of one storage graph's sections, filled in as boundaries are added."""

    def __init__(self, storage_graph: StorageGraph, schemes: Sequence[TilingScheme], max_extra_macs: int) -> None:
        """
        Args:
            schemes: those to try; `UNTILED` is always among them, first.
            max_extra_macs: sections that need more are not priced.
        """
        calls = len(storage_graph.calls)
        self._storage_graph = storage_graph
        self._max_extra_macs = max_extra_macs
        self._boundaries: set[int] = set()
        shape = (calls, calls + 1, len(schemes))
        self.candidates = Candidates(tuple(schemes), np.full(shape, NEVER, np.int64), np.zeros(shape, np.int64))
        groups: dict[int, list[int]] = {}
        for index, scheme in enumerate(schemes[1:], 1):
            groups.setdefault(scheme.columns, []).append(index)
        self._groups = [
            (columns, indices, [AxisSplit(m.rows, m.halo, m.lead) for m in (schemes[i] for i in indices)])
            for columns, indices in groups.items()
        ]
        self._wide = wide_storages(storage_graph)

    def untiled(self) -> None:
        """Price every call as an untiled section of its own."""
        for index in range(len(self._storage_graph.calls)):
            self.candidates.price_bytes[index, index + 1, 0] = _untiled_bytes(self._storage_graph, index)

    def price_between(self, boundaries: Sequence[int], peak_bytes: int, *, in_column_tiles: bool = True) -> None:
        """Price all tiled sections between these boundaries and those added before, as far as they may stay below
        `peak_bytes`; those in column tiles only if asked."""
        new = set(boundaries) - self._boundaries
        self._boundaries |= new
        asked = {
            end: firsts
            for end in sorted(self._boundaries, reverse=True)
            if (firsts := {first for first in self._boundaries if first < end and (end in new or first in new)})
        }
        for columns, indices, splits in self._groups:
            if columns > 1 and not in_column_tiles:
                continue
            together = max(1, _TOGETHER // (columns * sum(split.count for split in splits)))
            for ends in _batched(asked, together):
                sheet = _SectionCosts(self._storage_graph, ends, splits, columns, self._wide)
                for first, end, live, extra in sheet.prices(asked, self._max_extra_macs, peak_bytes):
                    self.candidates.price_bytes[first, end, indices] = live
                    self.candidates.extra_macs[first, end, indices] = extra


def _batched(ends: Iterable[int], size: int) -> Iterator[list[int]]:
    """`ends` in lists of at most so many."""
    remaining = iter(ends)
    while some := list(islice(remaining, size)):
        yield some


def _untiled_bytes(storage_graph: StorageGraph, index: int) -> int:
    alive = sum(
        storage_graph.aligned(s.size_bytes)
        for s in storage_graph.storages
        if s.first <= index <= s.last and storage_graph.counted(s)
    )
    return alive + storage_graph.aligned(storage_graph.calls[index].scratch_bytes)


def column_tiles(columns: int) -> AxisTiles:
    """Column tiles. A column of the halo is always computed again: its column tile ended a whole height ago."""
    return AxisTiles.of([AxisSplit(columns, Halo.RECOMPUTE)])


class _SectionCosts:
    """The prices of all sections with some ends, for several splits of the rows and one number of column tiles.

    All arrays go over the row tiles of all ends, or over the ends times the splits: *groups*.
    """

    def __init__(
        self,
        storage_graph: StorageGraph,
        ends: Sequence[int],
        splits: Sequence[AxisSplit],
        columns: int,
        wide: frozenset[int],
    ) -> None:
        self._storage_graph, self._ends, self._columns = storage_graph, np.array(ends, np.int64), columns
        self._splits = len(splits)
        self._row_tiles = AxisTiles.of([*splits] * len(ends))
        sizes = [sum(split.count for split in splits)] * len(ends)
        self._end_of = np.repeat(np.arange(len(ends)), sizes)
        """For each row tile, which end it belongs to."""
        self._rows = Sweep(storage_graph, self._ends[self._end_of], self._row_tiles, wide)
        self._across = None
        if columns > 1:
            down = column_tiles(columns)
            columns_of_ends = AxisTiles.of([*down.splits] * len(ends))
            self._across = Sweep(storage_graph, np.repeat(self._ends, columns), columns_of_ends, axis=COLUMNS)
        total = len(self._row_tiles.group)
        self._alive = np.zeros((total, columns, max(ends)), np.int64)
        """Bytes of the section's own storages at each row tile, column tile and call."""
        self._fixed = np.zeros(total, np.int64)
        """Bytes alive all through the section (row caches, accumulators), by row tile. Those of them that do not exist
        yet in the first row tile are subtracted in `_alive`."""
        self._extra = np.zeros(len(self._row_tiles.splits), np.int64)
        self._growing: dict[int, npt.NDArray[np.bool]] = {}
        """Storages of a section's own that outlive it; bool by end."""

    def prices(
        self, asked: Mapping[int, Collection[int]], max_extra_macs: int, peak_bytes: int
    ) -> Iterator[tuple[int, int, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """(first, end, live bytes, extra MACs) of the sections `asked` for, first calls by end; bytes and MACs are
        int64 by split, the bytes `NEVER` where impossible or too expensive."""
        begun = [np.array([first in asked[end] for end in self._ends]) for first in range(max(self._ends))]
        least = [min(asked[end]) for end in self._ends]
        going = np.ones(len(self._ends), bool)  # ends whose sections may still grow
        for first in range(int(max(self._ends)) - 1, min(least) - 1, -1):
            inside = going & (self._ends > first)
            if not inside.any():
                if not going.any():
                    break
                continue
            going &= ~inside | self._extend(first)
            fits = (self._extra <= max_extra_macs).reshape(-1, self._splits)
            going &= ~inside | fits.any(axis=1)
            wanted = inside & going & begun[first]
            if not wanted.any():
                continue
            possible = fits & self._possible(first)
            worst = np.where(possible, self._worst(first, wanted), NEVER)
            for at in np.flatnonzero(wanted):
                yield first, int(self._ends[at]), worst[at], self._extra.reshape(-1, self._splits)[at]
            going &= ~wanted | (self._own() < peak_bytes)

    def _extend(self, index: int) -> npt.NDArray[np.bool]:
        """Put call `index` in front of the sections that end behind it. Returns bool by end: whether a section can
        hold it."""
        storage_graph, call = self._storage_graph, self._storage_graph.calls[index]
        if not (call.tileable or call.reduces):
            return np.zeros(len(self._ends), bool)
        if call.reduces and self._columns > 1 and self._is_float(call):
            return np.zeros(len(self._ends), bool)  # float sums keep their bits only in the order of rows
        possible = np.ones(len(self._ends), bool)
        if call.reduces:  # its result is known only after the section's last row tile
            possible = ~self._by_end(self._rows.has_readers(call.output))
        storage = storage_graph.storages[call.output]
        before = self._rows.spans.get(call.output)
        span = self._rows.take(index)
        fresh = span.known if before is None else span.known & ~before.known
        inside = span.known[self._row_tiles.begins]
        widths = np.full((len(self._ends), 1), storage.columns)
        if self._across is not None:
            widths = self._across.take(index).rows.reshape(-1, self._columns)
        if call.macs and not call.reduces:
            total = np.repeat(widths.sum(axis=1), self._splits)
            computed = np.add.reduceat(span.rows, self._row_tiles.begins) * total
            whole = storage.rows * storage.columns
            self._extra += np.where(inside, call.macs * (computed - whole) // whole, 0)
        if call.scratch_bytes:
            scratch = np.where(span.known, storage_graph.aligned(call.scratch_bytes), 0)
            if call.reduces:
                self._fixed += scratch
            else:
                self._alive[:, :, index] += scratch[:, None]
        if fresh.any():
            self._add(storage, call.output, span, fresh, widths)
        return possible

    def _by_end(self, row_tiles: npt.NDArray[np.bool]) -> npt.NDArray[np.bool]:
        """bool by end, of a value that is the same in all row tiles of an end."""
        return row_tiles[self._row_tiles.begins].reshape(-1, self._splits)[:, 0]

    def _is_float(self, call: StorageCall) -> bool:
        return self._storage_graph.graph.tensors[call.reads[0].tensor].dtype == "float32"

    def _add(
        self, storage: Storage, number: int, span: AxisSpan, fresh: npt.NDArray[np.bool], widths: npt.NDArray[np.int64]
    ) -> None:
        """Add the bytes of a storage of the sections' own wherever it exists, in the row tiles where it is `fresh`.
        (While its first writers are not in a section, it is one from before, and the bytes added here are ignored:
        `_possible`.)"""
        storage_graph, row_tiles = self._storage_graph, self._row_tiles
        begin = max(storage.first, 0)
        outlives = fresh & span.kept
        if outlives.any():
            growing = self._by_end(outlives)
            self._growing[number] = self._growing[number] | growing if number in self._growing else growing
        own = fresh & ~span.kept
        if not own.any():
            return
        align = storage_graph.target.alignment_bytes
        row_bytes = -(-storage.row_bytes * widths // storage.columns)
        rows = np.where(own, span.rows, 0)
        tile = -(-rows[:, None] * row_bytes[self._end_of] // align) * align
        self._alive[:, :, begin : storage.last + 1] += tile[:, :, None]
        cached = self._rows.kept_rows(number) * np.repeat(row_bytes.max(axis=1), self._splits)
        cached = np.where(own[row_tiles.begins], cached, 0)
        if cached.any():
            cache = (-(-cached // align) * align)[row_tiles.group]
            # Column tiles that run side by side need a cache each (for rows that even a RECOMPUTE section computes
            # once).
            cache = cache * np.where(row_tiles.again, self._columns, 1)
            self._fixed += cache
            # In the first row tile the cache is there only from the copy behind the storage's last reader on.
            self._alive[row_tiles.begins, :, : storage.last] -= cache[row_tiles.begins, None, None]

    def _possible(self, first: int) -> npt.NDArray[np.bool]:
        """bool (ends, splits): whether storages begun before the section and written in it have each row written
        once."""
        possible = np.ones(len(self._row_tiles.splits), bool)
        for number, span in self._rows.spans.items():
            if self._storage_graph.storages[number].first < first:
                known, once = span.known[self._row_tiles.begins], span.once[self._row_tiles.begins]
                possible &= ~known | (once & (self._columns == 1))
        return possible.reshape(-1, self._splits)

    def _peaks(self, first: int) -> npt.NDArray[np.int64]:
        """int64 (ends, splits): bytes of the section's own at the fullest call from `first` on."""
        fullest = self._alive[:, :, first:].max(axis=(1, 2)) + self._fixed
        return np.maximum.reduceat(fullest, self._row_tiles.begins).reshape(-1, self._splits)

    def _own(self) -> npt.NDArray[np.int64]:
        """Least bytes by end that any section with this end and an earlier beginning has."""
        least: npt.NDArray[np.int64] = self._peaks(0).min(axis=1)
        return least

    def _worst(self, first: int, wanted: npt.NDArray[np.bool]) -> npt.NDArray[np.int64]:
        """Bytes that the sections need, int64 (ends, splits): their own tiles and caches, and the tensors between
        sections. Right for the ends that are `wanted`."""
        storage_graph, storages = self._storage_graph, self._storage_graph.storages
        between = np.zeros(len(self._ends), np.int64)
        shrinking: dict[int, npt.NDArray[np.bool]] = {}
        for number, storage in enumerate(storages):
            if storage.first < first <= storage.last and storage_graph.counted(storage):
                between += storage_graph.aligned(storage.size_bytes)
                span = self._rows.spans.get(number)
                shrinks = wanted & (storage.last < self._ends)
                if span is not None:
                    shrinks &= ~self._by_end(span.known)
                if shrinks.any():
                    shrinking[number] = shrinks
        growing: dict[int, npt.NDArray[np.bool]] = {}
        for number, grows in self._growing.items():
            if storages[number].first >= first and (grows & wanted).any():
                growing[number] = grows & wanted
                between += np.where(grows, storage_graph.aligned(storages[number].size_bytes), 0)
        shared = self._shared(growing, shrinking)
        if self._columns > 1:  # only where row tiles are the outer loop do rows make room
            again = self._row_tiles.again[self._row_tiles.begins].reshape(-1, self._splits)
            shared = np.where(again, shared, 0)
        return self._peaks(first) + between[:, None] - shared

    def _shared(
        self, growing: Mapping[int, npt.NDArray[np.bool]], shrinking: Mapping[int, npt.NDArray[np.bool]]
    ) -> npt.NDArray[np.int64]:
        """Bytes saved, int64 (ends, splits), where a storage that grows follows close behind one that shrinks, in the
        same memory.

        Each tensor keeps its rows together, so each follows at most one other: the pairs that save most, greedily.

        Args:
            growing, shrinking: by storage, bool by end: whether it does so in the sections with this end.
        """
        storages, row_tiles = self._storage_graph.storages, self._row_tiles
        saved = np.zeros((len(self._ends), self._splits), np.int64)
        pairs: dict[int, list[tuple[int, int, int, npt.NDArray[np.int64]]]] = {}
        """By end: the most bytes saved, the two storages, and the bytes saved by split."""
        lows = {old: self._rows.low(old) * storages[old].row_bytes for old in shrinking} if growing else {}
        for new, grows in growing.items():
            top = self._rows.spans[new].bottom * storages[new].row_bytes
            for old, shrinks in shrinking.items():
                both = grows & shrinks
                if not both.any():
                    continue
                behind = np.maximum.reduceat(top - lows[old], row_tiles.begins)
                new_bytes, old_bytes = storages[new].size_bytes, storages[old].size_bytes
                together = np.maximum(new_bytes, old_bytes + np.maximum(behind, 0))
                saving = np.maximum(new_bytes + old_bytes - together, 0).reshape(-1, self._splits)
                most = saving.max(axis=1)
                for at in np.flatnonzero(both & (most > 0)).tolist():
                    pairs.setdefault(at, []).append((int(most[at]), new, old, saving[at]))
        for at, of_end in pairs.items():
            taken: set[int] = set()
            for _, new, old, saving in sorted(of_end, key=lambda pair: -pair[0]):
                if not {new, ~old} & taken:
                    taken |= {new, ~old}
                    saved[at] += saving
        return saved
