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

from evaluation.planner.sections import NEVER, Candidates, Manner

_STEP_PRICE = 1 << 20
"""MACs come first; among equal ones the path with fewer steps wins."""


@dataclass(frozen=True)
class Cut:
    """Calls [first, end) as one section."""

    first: int
    end: int
    manner: Manner


@dataclass(frozen=True)
class Path:
    """A choice of sections, and the largest price among them."""

    cuts: tuple[Cut, ...]
    peak_bytes: int


def least_peak_path(candidates: Candidates, max_extra_macs: int, slack: float = 0.0) -> Path | None:
    """The cuts of least peak whose extra MACs stay within the budget; of these, those with the fewest MACs.

    Args:
        slack: share by which the peak may lie above the least one, for fewer MACs and steps.

    Returns:
        None where the candidates hold no path within the budget.
    """
    least = _least_bottleneck(candidates.price_bytes.min(axis=2))
    if least >= NEVER:
        return None
    if not _affordable(candidates, least, max_extra_macs):
        peaks = np.unique(candidates.price_bytes[(candidates.price_bytes < NEVER) & (candidates.price_bytes > least)])
        if not peaks.size or not _affordable(candidates, int(peaks[-1]), max_extra_macs):
            return None
        low, high = 0, len(peaks) - 1
        while low < high:
            middle = (low + high) // 2
            if _affordable(candidates, int(peaks[middle]), max_extra_macs):
                high = middle
            else:
                low = middle + 1
        least = int(peaks[low])
    _, cuts = _shortest(candidates, int(least * (1 + slack)))
    index = {manner: number for number, manner in enumerate(candidates.manners)}
    return Path(cuts, max(int(candidates.price_bytes[c.first, c.end, index[c.manner]]) for c in cuts))


def bounds_below(candidates: Candidates, bounds: Sequence[int], peak_bytes: int) -> list[int]:
    """Those bounds on the tile count within which some path, whatever its MACs, stays below `peak_bytes`."""
    tiles = np.array([manner.tiles for manner in candidates.manners])
    order = np.argsort(tiles, kind="stable")
    cheapest = np.minimum.accumulate(candidates.price_bytes[:, :, order], axis=2)
    allowed = [int(np.searchsorted(tiles[order], bound, side="right")) for bound in bounds]
    least = [_least_bottleneck(cheapest[:, :, count - 1]) for count in allowed]
    return [bound for bound, peak in zip(bounds, least, strict=True) if peak < peak_bytes]


def _least_bottleneck(cheapest: np.ndarray) -> int:
    """The least peak of any path, whatever its MACs: `cheapest` has the least bytes of each section."""
    calls = len(cheapest)
    least = np.full(calls + 1, NEVER, np.int64)
    least[0] = 0
    for end in range(1, calls + 1):
        least[end] = np.maximum(cheapest[:end, end], least[:end]).min()
    return int(least[calls])


def _affordable(candidates: Candidates, peak_bytes: int, max_extra_macs: int) -> bool:
    cost, _ = _shortest(candidates, peak_bytes)
    return cost is not None and cost <= max_extra_macs


def _shortest(candidates: Candidates, peak_bytes: int) -> tuple[int | None, tuple[Cut, ...]]:
    """(extra MACs, cuts) of the cheapest path with no edge above `peak_bytes`; (None, ()) where there is none."""
    calls = candidates.price_bytes.shape[0]
    tiles = np.array([manner.tiles for manner in candidates.manners], np.int64)
    distance = np.full(calls + 1, np.inf)
    distance[0] = 0.0
    came_from = [(0, 0)] * (calls + 1)
    for end in range(1, calls + 1):
        first, manner = np.nonzero(candidates.price_bytes[:end, end, :] <= peak_bytes)
        if not first.size:
            continue
        price = (
            candidates.extra_macs[first, end, manner].astype(np.float64) * _STEP_PRICE + (end - first) * tiles[manner]
        )
        total = price + distance[first]
        best = int(np.argmin(total))
        distance[end] = total[best]
        came_from[end] = int(first[best]), int(manner[best])
    if not np.isfinite(distance[calls]):
        return None, ()
    cuts: list[Cut] = []
    extra, end = 0, calls
    while end > 0:
        first, manner = came_from[end]
        cuts.append(Cut(first, end, candidates.manners[manner]))
        extra += int(candidates.extra_macs[first, end, manner])
        end = first
    cuts.reverse()
    return extra, tuple(cuts)
