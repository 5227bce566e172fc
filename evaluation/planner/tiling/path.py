"""Choose the sections: the least peak that the MAC budget allows, and then the fewest MACs.

Sections partition the calls, so a choice is a path from 0 to the number of calls whose edges are candidates. The peak
of a path is its worst edge, its cost the sum of extra MACs. For a given peak the cheapest path is a shortest path over
the edges that stay below it; the least peak is found by bisection over the edges' values (msf-CNN, 2025, section 4,
poses the same problem).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.planner.tiling.section_costs import NEVER, Candidates, TilingScheme

_STEP_PRICE = 1 << 20
"""MACs come first; among equal ones the path with fewer steps wins."""


@dataclass(frozen=True)
class SectionChoice:
    """Calls [first, end) as one section."""

    first: int
    end: int
    scheme: TilingScheme


@dataclass(frozen=True)
class Path:
    """A sequence of sections, and the largest price among them."""

    choices: tuple[SectionChoice, ...]
    peak_bytes: int


def least_peak_path(candidates: Candidates, max_extra_macs: int, slack: float = 0.0) -> Path | None:
    """The sections of least peak whose extra MACs stay within the budget; of these, those with the fewest MACs.

    Args:
        slack: share by which the peak may be above the least one, for fewer MACs and steps.

    Returns:
        None where the candidates hold no path within the budget.
    """
    least = _least_bottleneck(candidates.price_bytes.min(axis=2))
    if least >= NEVER:
        return None
    edges = _Edges.of(candidates)
    if not edges.affordable(least, max_extra_macs):
        peaks = np.unique(edges.price_bytes[edges.price_bytes > least])
        if not peaks.size or not edges.affordable(int(peaks[-1]), max_extra_macs):
            return None
        low, high = 0, len(peaks) - 1
        while low < high:
            middle = (low + high) // 2
            if edges.affordable(int(peaks[middle]), max_extra_macs):
                high = middle
            else:
                low = middle + 1
        least = int(peaks[low])
    chosen = edges.shortest(int(least * (1 + slack)))
    choices = tuple(
        SectionChoice(int(edges.first[edge]), int(edges.end[edge]), candidates.schemes[edges.scheme[edge]])
        for edge in chosen
    )
    return Path(choices, int(edges.price_bytes[chosen].max()))


def bounds_below(candidates: Candidates, bounds: Sequence[int], peak_bytes: int) -> list[int]:
    """Those bounds on the tile count within which some path, whatever its MACs, stays below `peak_bytes`."""
    tiles = np.array([scheme.tiles for scheme in candidates.schemes])
    order = np.argsort(tiles, kind="stable")
    cheapest = np.minimum.accumulate(candidates.price_bytes[:, :, order], axis=2)
    allowed = [int(np.searchsorted(tiles[order], bound, side="right")) for bound in bounds]
    least = [_least_bottleneck(cheapest[:, :, count - 1]) for count in allowed]
    return [bound for bound, peak in zip(bounds, least, strict=True) if peak < peak_bytes]


def _least_bottleneck(cheapest: npt.NDArray[np.int64]) -> int:
    """The least peak of any path, whatever its MACs: `cheapest` has the least bytes of each section."""
    calls = len(cheapest)
    least = np.full(calls + 1, NEVER, np.int64)
    least[0] = 0
    for end in range(1, calls + 1):
        least[end] = np.maximum(cheapest[:end, end], least[:end]).min()
    return int(least[calls])


@dataclass(frozen=True, eq=False)
class _Edges:
    """The possible candidates, sorted by end, first call and scheme. Arrays of one length."""

    first: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    scheme: npt.NDArray[np.int64]
    price_bytes: npt.NDArray[np.int64]
    extra_macs: npt.NDArray[np.int64]
    cost: npt.NDArray[np.float64]
    """float64: cost of an edge in a shortest path."""
    calls: int

    @staticmethod
    def of(candidates: Candidates) -> _Edges:
        end, first, scheme = np.nonzero(candidates.price_bytes.transpose(1, 0, 2) < NEVER)
        tiles = np.array([scheme.tiles for scheme in candidates.schemes], np.int64)
        extra = candidates.extra_macs[first, end, scheme]
        cost = extra.astype(np.float64) * _STEP_PRICE + (end - first) * tiles[scheme]
        calls = len(candidates.price_bytes)
        return _Edges(first, end, scheme, candidates.price_bytes[first, end, scheme], extra, cost, calls)

    def affordable(self, peak_bytes: int, max_extra_macs: int) -> bool:
        """Whether some path with no edge above `peak_bytes` needs no more extra MACs."""
        chosen = self.shortest(peak_bytes)
        return bool(chosen) and int(self.extra_macs[chosen].sum()) <= max_extra_macs

    def shortest(self, peak_bytes: int) -> list[int]:
        """Indices of the cheapest path's edges among those not above `peak_bytes`; empty where there is none."""
        usable = np.flatnonzero(self.price_bytes <= peak_bytes)
        first, cost = self.first[usable], self.cost[usable]
        ends, begins = np.unique(self.end[usable], return_index=True)
        distance = np.full(self.calls + 1, np.inf)
        distance[0] = 0.0
        came_by = [-1] * (self.calls + 1)
        for end, begin, stop in zip(ends.tolist(), begins.tolist(), [*begins[1:].tolist(), len(usable)], strict=True):
            total = cost[begin:stop] + distance[first[begin:stop]]
            best = int(total.argmin())
            distance[end] = total[best]
            came_by[end] = int(usable[begin + best])
        if not np.isfinite(distance[self.calls]):
            return []
        path, at = [], self.calls
        while at > 0:
            path.append(came_by[at])
            at = int(self.first[came_by[at]])
        return path[::-1]
