"""Price every way to cut a network into sections: the live bytes and the MACs of each candidate.

A *section* is a run of kernel calls [first, end) computed in n stripes of rows: stripe k passes through all its calls
before stripe k+1 begins, so what lies between them never exists whole. Rows a stripe needs beyond its own (the halo)
are computed again. Tensors that outlive the section are kept whole and each of their rows is computed only once; so
is a tensor of which the first stripe already needs every row (the result of a global pool, for one).

All candidates that share an `end` share the regions of their stripes: which rows of a tensor are needed follows from
the calls after it alone. One backward sweep per `end` therefore prices all of them, for all stripe counts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.planner.liveness import Program, Storage

NEVER = np.iinfo(np.int64).max // 4
"""Live bytes of a section that cannot be."""


@dataclass(frozen=True, eq=False)
class Stripes:
    """Stripes of several counts, stacked: those of counts[0] first, then those of counts[1], ..."""

    counts: tuple[int, ...]
    begins: np.ndarray
    """Index of the first stripe of each count."""
    ends: np.ndarray
    """Index of the last stripe of each count."""

    @staticmethod
    def of(counts: Sequence[int]) -> Stripes:
        sizes = np.array(counts, np.int64)
        ends = np.cumsum(sizes) - 1
        return Stripes(tuple(counts), ends - sizes + 1, ends)

    def shares(self, rows: int) -> np.ndarray:
        """Bottom row of each stripe when `rows` are shared out evenly."""
        return np.concatenate([np.arange(1, n + 1, dtype=np.int64) * rows // n for n in self.counts])


@dataclass(frozen=True, eq=False)
class StripeRows:
    """Rows [top, bottom) of one tensor that each stripe computes; none where top >= bottom."""

    top: np.ndarray
    bottom: np.ndarray
    kept: np.ndarray
    """Per stripe: whether the tensor is kept whole over the stripes of this count."""

    @property
    def rows(self) -> np.ndarray:
        return np.maximum(self.bottom - self.top, 0)


class BackwardSweep:
    """Rows that the stripes of a section ending before call `end` compute, found call by call, the last one first."""

    def __init__(self, program: Program, end: int, stripes: Stripes) -> None:
        self._program = program
        self._end = end
        self._stripes = stripes
        self._needed: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def step(self, call_index: int) -> StripeRows:
        """Rows of the output of `call_index` in each stripe. Calls must be given in falling order from end - 1."""
        program, stripes = self._program, self._stripes
        call = program.calls[call_index]
        storage = program.storages[program.storage_of[call.writes[0]]]
        if call.writes[0] in self._needed:
            top, bottom = self._needed[call.writes[0]]
        else:
            bottom = stripes.shares(storage.rows)
            top = np.concatenate(([0], bottom[:-1]))
            top[stripes.begins] = 0
        outlives = storage.last >= self._end or call.in_place
        sizes = np.array(stripes.counts)
        whole_at_once = (top[stripes.begins] == 0) & (bottom[stripes.begins] == storage.rows)
        kept = np.repeat(whole_at_once | outlives, sizes)
        if kept.any():
            kept_bottom = bottom.copy()
            kept_bottom[stripes.ends] = storage.rows
            kept_top = np.concatenate(([0], kept_bottom[:-1]))
            kept_top[stripes.begins] = 0
            top, bottom = np.where(kept, kept_top, top), np.where(kept, kept_bottom, bottom)
        for tensor, rows in zip(call.reads, call.row_needs, strict=True):
            self._need(tensor, rows, top, bottom)
        return StripeRows(top, bottom, kept)

    def _need(self, tensor: int, rows: tuple[np.ndarray, np.ndarray], top: np.ndarray, bottom: np.ndarray) -> None:
        first, end = rows
        # A stripe that computes no rows needs none (its top is beyond any), yet keeps the bottom of those before it:
        # bottoms rise from stripe to stripe, which is what lets kept tensors be computed once.
        none = np.int64(1 << 40)
        needed_top = np.where(top < bottom, first[np.minimum(top, len(first) - 1)], none)
        needed_bottom = np.where(bottom > 0, end[bottom - 1], 0)
        if tensor in self._needed:
            old_top, old_bottom = self._needed[tensor]
            needed_top, needed_bottom = np.minimum(needed_top, old_top), np.maximum(needed_bottom, old_bottom)
        self._needed[tensor] = needed_top, needed_bottom


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every section [first, end) at every stripe count. Arrays of shape (calls, calls + 1, counts)."""

    counts: tuple[int, ...]
    live_bytes: np.ndarray
    """Largest sum of aligned sizes alive at one step; NEVER where the section cannot be striped or costs too much."""
    extra_macs: np.ndarray
    """MACs of rows computed again."""

    def up_to(self, tile_count: int) -> Candidates:
        """Only those of at most `tile_count` stripes."""
        kept = sum(count <= tile_count for count in self.counts)
        return Candidates(self.counts[:kept], self.live_bytes[:, :, :kept], self.extra_macs[:, :, :kept])


def candidates(program: Program, counts: Sequence[int], max_extra_macs: int) -> Candidates:
    """Price all sections whose recomputed rows cost at most `max_extra_macs`. counts[0] must be 1 (untiled calls)."""
    calls = len(program.calls)
    shape = (calls, calls + 1, len(counts))
    live, extra = np.full(shape, NEVER, np.int64), np.zeros(shape, np.int64)
    for index in range(calls):
        live[index, index + 1, 0] = _untiled_live_bytes(program, index)
    if len(counts) > 1:
        stripes = Stripes.of(counts[1:])
        for end in range(2, calls + 1):
            _price(program, end, stripes, max_extra_macs, live[:, end, 1:], extra[:, end, 1:])
    return Candidates(tuple(counts), live, extra)


def _untiled_live_bytes(program: Program, index: int) -> int:
    alive = sum(program.aligned(s.size_bytes) for s in program.storages if s.first <= index <= s.last)
    return alive + program.aligned(program.calls[index].scratch_bytes)


def _price(
    program: Program, end: int, stripes: Stripes, max_extra_macs: int, live: np.ndarray, extra: np.ndarray
) -> None:
    """Fill live[first, count] and extra[first, count] for all sections that end before call `end`."""
    sweep = BackwardSweep(program, end, stripes)
    total = sum(stripes.counts)
    alive = np.zeros((total, end), np.int64)
    is_first, is_last = np.zeros(total, bool), np.zeros(total, bool)
    is_first[stripes.begins], is_last[stripes.ends] = True, True
    recomputed = np.zeros(len(stripes.counts), np.int64)
    for first in range(end - 1, -1, -1):
        call = program.calls[first]
        if not call.tileable:
            return
        storage = program.storages[program.storage_of[call.writes[0]]]
        rows = sweep.step(first)
        computed = np.add.reduceat(rows.rows, stripes.begins)
        recomputed += (call.macs * (computed - storage.rows)) // max(storage.rows, 1)
        if recomputed.min() > max_extra_macs:
            return
        alive[:, first] += program.aligned(call.scratch_bytes)
        if not call.in_place:
            _add_output(program, storage, rows, first, end, alive, is_first, is_last)
        if end - first > 1:
            worst = _worst_stripe(program, first, end, alive, stripes)
            fits = recomputed <= max_extra_macs
            live[first, fits] = worst[fits]
            extra[first] = recomputed


def _add_output(
    program: Program,
    storage: Storage,
    rows: StripeRows,
    call: int,
    end: int,
    alive: np.ndarray,
    is_first: np.ndarray,
    is_last: np.ndarray,
) -> None:
    """Add the bytes of the output of `call` to alive[stripe, call] wherever it exists."""
    whole = program.aligned(storage.size_bytes)
    align = program.target.alignment_bytes
    part = -(-rows.rows * storage.row_bytes // align) * align
    part[rows.kept] = 0
    last = min(storage.last, end - 1)
    alive[:, call : last + 1] += part[:, None]
    if rows.kept.any():
        later = rows.kept & ~is_first
        alive[later] += whole
        alive[rows.kept & is_first, call:] += whole
        if storage.last < end:
            alive[rows.kept & is_last, last + 1 :] -= whole


def _worst_stripe(program: Program, first: int, end: int, alive: np.ndarray, stripes: Stripes) -> np.ndarray:
    """Largest live bytes of the section for each count: its own tensors and those that come from before it."""
    section = alive[:, first:]
    constant = 0
    dying = []
    for storage in program.storages:
        if storage.first < first <= storage.last:
            size = program.aligned(storage.size_bytes)
            constant += size
            if storage.last < end - 1:
                dying.append((storage.last, size))
    if dying:
        section = section.copy()
        for last, size in dying:
            section[stripes.ends, last + 1 - first :] -= size
    return np.maximum.reduceat(section.max(axis=1), stripes.begins) + constant
