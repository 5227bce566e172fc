"""Price the ways to cut a network into sections: the bytes and the MACs of each candidate.

The bytes of a section are those of its own tiles and row caches at the fullest step, and of the tensors between
sections. Of the latter each keeps its rows together, so that one which grows can follow close behind one that shrinks
(`_Sheet._shared`), but not behind two: the price is that of an arrangement which exists, as long as neighbouring
sections do not demand another. It is therefore mostly above the bytes alive, and mostly near the arena in the end.

A price depends on the section's own calls alone: what comes from before it dies as its stripes read it, what outlives
it grows as they write it. So every candidate [first, end) is priced once, for all manners together, and the best
sequence of sections is a shortest path (`path`). One backward sweep (`stripes`) serves all candidates with one `end`.

Not every candidate is priced. Everything alive at a boundary between sections is whole there, so no plan through it has
a lower peak than that sum; and tiled sections mostly begin and end where the network is narrow (`narrows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.planner.geometry import COLUMNS
from evaluation.planner.program import Call, Program, Storage
from evaluation.planner.stripes import Cutting, Span, Stripes, Sweep, wide_storages
from evaluation.planner.types import Halo

NEVER = np.iinfo(np.int64).max // 4
"""Live bytes of a section that cannot be."""


@dataclass(frozen=True)
class Manner:
    """A way to compute a section: stripes of rows, strips of columns, and what becomes of the halo."""

    rows: int
    columns: int
    halo: Halo
    lead: int = 0
    """Stripes at the beginning that compute nothing of the last output (see `stripes`)."""

    @property
    def tiles(self) -> int:
        return self.rows * self.columns

    @property
    def rows_outermost(self) -> bool:
        """Whether stripes of rows are the outer loop, and strips of columns the inner (see `types.Section`)."""
        return self.halo is Halo.RECOMPUTE


UNTILED = Manner(1, 1, Halo.NONE)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Prices of sections. A section that cannot be, or costs more MACs than allowed, has `NEVER` bytes."""

    manners: tuple[Manner, ...]
    price_bytes: np.ndarray
    """int64 (calls, calls + 1, manners): the bytes of section [first, end)."""
    extra_macs: np.ndarray
    """int64, same shape: MACs beyond the untiled ones."""

    def among(self, keep: Sequence[int]) -> Candidates:
        """Only the manners at these positions."""
        manners = tuple(self.manners[index] for index in keep)
        return Candidates(manners, self.price_bytes[:, :, keep], self.extra_macs[:, :, keep])


def boundary_bytes(program: Program) -> np.ndarray:
    """int64 (calls + 1,): bytes of what is alive between call i - 1 and call i."""
    crossing = np.zeros(len(program.calls) + 1, np.int64)
    for storage in program.storages:
        if program.counted(storage):
            crossing[storage.first + 1 : storage.last + 1] += storage.size_bytes
    return crossing


def barriers(program: Program) -> list[int]:
    """Boundaries that every choice of sections has, 0 among them: around a call that only runs whole, and before one
    that reads the result of a global pool."""
    found = {0}
    reduced: set[int] = set()
    for index, call in enumerate(program.calls):
        if not call.tileable and not call.reduces:
            found |= {index, index + 1}
        elif any(operand.storage in reduced for operand in call.reads):
            found.add(index)
        if call.reduces:
            reduced.add(call.output)
    return sorted(found - {len(program.calls)})


def narrows(program: Program) -> list[int]:
    """Boundaries at which no more is alive than at those beside them, the ends among them."""
    crossing = boundary_bytes(program)
    last = len(crossing) - 1
    return [
        i
        for i in range(last + 1)
        if i in (0, last) or (crossing[i] <= crossing[i - 1] and crossing[i] <= crossing[i + 1])
    ]


class Pricing:
    """Prices of one program's sections, filled in as boundaries are taken up."""

    def __init__(self, program: Program, manners: Sequence[Manner], max_extra_macs: int) -> None:
        """
        Args:
            manners: what may be tried; `UNTILED` is always among them, first.
            max_extra_macs: sections that need more are not priced.
        """
        calls = len(program.calls)
        self._program = program
        self._max_extra_macs = max_extra_macs
        self._boundaries: set[int] = set()
        shape = (calls, calls + 1, len(manners))
        self.candidates = Candidates(tuple(manners), np.full(shape, NEVER, np.int64), np.zeros(shape, np.int64))
        groups: dict[int, list[int]] = {}
        for index, manner in enumerate(manners[1:], 1):
            groups.setdefault(manner.columns, []).append(index)
        self._groups = [
            (columns, indices, Stripes.of([Cutting(m.rows, m.halo, m.lead) for m in (manners[i] for i in indices)]))
            for columns, indices in groups.items()
        ]
        self._wide = wide_storages(program)

    def untiled(self) -> None:
        """Price every call as an untiled section of its own."""
        for index in range(len(self._program.calls)):
            self.candidates.price_bytes[index, index + 1, 0] = _untiled_bytes(self._program, index)

    def take_up(self, boundaries: Sequence[int], peak_bytes: int, *, in_strips: bool = True) -> None:
        """Price all tiled sections between these boundaries and those taken up before, as far as they may stay below
        `peak_bytes`; those in strips of columns only if asked."""
        new = set(boundaries) - self._boundaries
        self._boundaries |= new
        for end in sorted(self._boundaries):
            firsts = [first for first in self._boundaries if first < end and (end in new or first in new)]
            if not firsts:
                continue
            for columns, indices, stripes in self._groups:
                if columns > 1 and not in_strips:
                    continue
                sheet = _Sheet(self._program, end, stripes, columns, self._wide)
                live, extra = sheet.prices(sorted(firsts, reverse=True), self._max_extra_macs, peak_bytes)
                self.candidates.price_bytes[:, end, indices] = np.minimum(
                    self.candidates.price_bytes[:, end, indices], live
                )
                self.candidates.extra_macs[:, end, indices] = np.maximum(
                    self.candidates.extra_macs[:, end, indices], extra
                )


def _untiled_bytes(program: Program, index: int) -> int:
    alive = sum(
        program.aligned(s.size_bytes) for s in program.storages if s.first <= index <= s.last and program.counted(s)
    )
    return alive + program.aligned(program.calls[index].scratch_bytes)


def strips(columns: int) -> Stripes:
    """Strips of columns. A column of the halo is always computed again: its strip ended a whole height ago."""
    return Stripes.of([Cutting(columns, Halo.RECOMPUTE)])


class _Sheet:
    """The prices of all sections with one `end`, for several stripe counts and one number of column strips."""

    def __init__(self, program: Program, end: int, stripes: Stripes, columns: int, wide: frozenset[int]) -> None:
        self._program, self._end, self._stripes, self._columns = program, end, stripes, columns
        self._rows = Sweep(program, end, stripes, wide)
        self._across = Sweep(program, end, strips(columns), axis=COLUMNS) if columns > 1 else None
        total = len(stripes.group)
        self._alive = np.zeros((total, columns, end), np.int64)
        """Bytes of the section's own storages at each stripe, strip and call."""
        self._fixed = np.zeros(total, np.int64)
        """Bytes alive all through the section (row caches, accumulators), by stripe. What of them is not yet there in
        the first stripe is subtracted in `_alive`."""
        self._extra = np.zeros(len(stripes.cuttings), np.int64)
        self._growing: list[int] = []
        """Storages of the section's own that outlive it."""

    def prices(self, firsts: list[int], max_extra_macs: int, peak_bytes: int) -> tuple[np.ndarray, np.ndarray]:
        """(live bytes, extra MACs), int64 (calls, counts) each, `NEVER` where not asked for, impossible or too dear."""
        program, stripes = self._program, self._stripes
        shape = (len(program.calls), len(stripes.cuttings))
        live, extra = np.full(shape, NEVER, np.int64), np.zeros(shape, np.int64)
        asked = set(firsts)
        for first in range(self._end - 1, min(firsts) - 1, -1):
            if not self._extend(first):
                break
            fits = self._extra <= max_extra_macs
            if not fits.any():
                break
            if first in asked:
                fits &= self._possible(first)
                worst = self._worst(first)
                live[first, fits] = worst[fits]
                extra[first] = self._extra
                if self._own().min() >= peak_bytes:
                    break
        return live, extra

    def _extend(self, index: int) -> bool:
        """Put call `index` in front of the section; False where no section can hold it."""
        program, call = self._program, self._program.calls[index]
        if not (call.tileable or call.reduces):
            return False
        storage = program.storages[call.output]
        if call.reduces and self._rows.has_readers(call.output):
            return False  # its result is known only after the section's last stripe
        if call.reduces and self._columns > 1 and self._is_float(call):
            return False  # float sums keep their bits only in the order of rows
        is_last_writer = call.output not in self._rows.spans
        span = self._rows.take(index)
        widths = np.array([storage.columns]) if self._across is None else self._across.take(index).rows
        if call.macs and not call.reduces:
            computed = np.add.reduceat(span.rows, self._stripes.begins) * int(widths.sum())
            whole = storage.rows * storage.columns
            self._extra += call.macs * (computed - whole) // whole
        scratch = program.aligned(call.scratch_bytes)
        if call.reduces:
            self._fixed += scratch
        else:
            self._alive[:, :, index] += scratch
        if is_last_writer:
            self._add(storage, call.output, span, widths)
        return True

    def _is_float(self, call: Call) -> bool:
        return self._program.graph.tensors[call.reads[0].tensor].dtype == "float32"

    def _add(self, storage: Storage, number: int, span: Span, widths: np.ndarray) -> None:
        """Add the bytes of a storage of the section's own wherever it exists. (While its first writers are not in the
        section, it is one from before, and what is added here is ignored: `_possible`.)"""
        program = self._program
        begin = max(storage.first, 0)
        if span.kept:
            self._growing.append(number)
            return
        align = program.target.alignment_bytes
        row_bytes = -(-storage.row_bytes * widths // storage.columns)
        tile = -(-span.rows[:, None] * row_bytes[None, :] // align) * align
        self._alive[:, :, begin : storage.last + 1] += tile[:, :, None]
        if span.once.any():
            cached = self._rows.kept_rows(number) * int(row_bytes.max())
            cache = (-(-cached // align) * align)[self._stripes.group]
            # Strips that run side by side need a cache each (of what even a RECOMPUTE section computes once).
            cache = cache * np.where(self._stripes.again, self._columns, 1)
            self._fixed += cache
            # In the first stripe the cache is there only from the copy behind the storage's last reader on.
            self._alive[self._stripes.begins, :, : storage.last] -= cache[self._stripes.begins, None, None]

    def _possible(self, first: int) -> np.ndarray:
        """bool by manner: whether storages begun before the section and written in it have each row written once."""
        possible = np.ones(len(self._stripes.cuttings), bool)
        for number, span in self._rows.spans.items():
            if self._program.storages[number].first < first:
                possible &= span.once[self._stripes.begins] & (self._columns == 1)
        return possible

    def _own(self) -> np.ndarray:
        """Least bytes of each count that any section with this end and an earlier beginning has."""
        return np.maximum.reduceat(self._alive[:, :, :].max(axis=(1, 2)) + self._fixed, self._stripes.begins)

    def _worst(self, first: int) -> np.ndarray:
        """Bytes that the section needs, for each count: its own tiles and caches, and the tensors between sections."""
        program, stripes = self._program, self._stripes
        between = 0
        shrinking: list[int] = []
        for number, storage in enumerate(program.storages):
            if storage.first < first <= storage.last and program.counted(storage):
                between += program.aligned(storage.size_bytes)
                if number not in self._rows.spans and storage.last < self._end:
                    shrinking.append(number)
        growing = [number for number in self._growing if program.storages[number].first >= first]
        between += sum(program.aligned(program.storages[number].size_bytes) for number in growing)
        own = np.maximum.reduceat(self._alive[:, :, first:].max(axis=(1, 2)) + self._fixed, stripes.begins)
        shared = self._shared(growing, shrinking)
        if self._columns > 1:  # only where stripes are the outer loop do rows make room
            shared = np.where(stripes.again[stripes.begins], shared, 0)
        return own + between - shared

    def _shared(self, growing: list[int], shrinking: list[int]) -> np.ndarray:
        """Bytes saved, for each count, where what grows follows close behind what shrinks, in one place.

        Each tensor keeps its rows together, so each follows at most one other: the pairs that save most, greedily.
        """
        storages, stripes = self._program.storages, self._stripes
        saved = np.zeros(len(stripes.cuttings), np.int64)
        pairs = []
        for new in growing:
            top = self._rows.spans[new].bottom * storages[new].row_bytes
            for old in shrinking:
                behind = np.maximum.reduceat(top - self._rows.low(old) * storages[old].row_bytes, stripes.begins)
                new_bytes, old_bytes = storages[new].size_bytes, storages[old].size_bytes
                together = np.maximum(new_bytes, old_bytes + np.maximum(behind, 0))
                pairs.append((new_bytes + old_bytes - together, new, old))
        taken: set[int] = set()
        for saving, new, old in sorted(pairs, key=lambda pair: -int(pair[0].max())):
            if not {new, ~old} & taken:
                taken |= {new, ~old}
                saved += np.maximum(saving, 0)
        return saved
