"""Choose the sections: the least peak of live bytes that the MAC budget allows, and then the fewest MACs.

Sections partition the calls, so a choice is a path from 0 to the number of calls whose edges are candidates. The peak
of a path is its worst edge, its cost the sum of extra MACs. For a given peak the cheapest path is a shortest path over
the edges that stay below it; the least peak is found by bisection over the edges' values (msf-CNN, 2025, section 4,
poses the same problem).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.planner.sections import NEVER, Candidates

_STEP_PRICE = 1 << 20
"""MACs come first; among equal ones the path with fewer steps wins."""


@dataclass(frozen=True)
class Cut:
    """Calls [first, end) as one section in `tiles` stripes. Untiled calls each form a section of their own here."""

    first: int
    end: int
    tiles: int


def least_peak_path(candidates: Candidates, max_extra_macs: int) -> tuple[Cut, ...]:
    """The cuts of least peak whose extra MACs stay within the budget; of these, those with the fewest MACs."""
    calls = candidates.live_bytes.shape[0]
    peaks = np.unique(candidates.live_bytes[candidates.live_bytes < NEVER])
    # Any path must hold the calls one by one or inside a section, so the untiled peak is always enough.
    untiled = max(int(candidates.live_bytes[i, i + 1, 0]) for i in range(calls))
    peaks = peaks[peaks <= untiled]
    low, high = 0, len(peaks) - 1
    while low < high:
        middle = (low + high) // 2
        cost, _ = _shortest(candidates, int(peaks[middle]))
        if cost is not None and cost <= max_extra_macs:
            high = middle
        else:
            low = middle + 1
    _, cuts = _shortest(candidates, int(peaks[low]))
    return cuts


def _shortest(candidates: Candidates, peak_bytes: int) -> tuple[int | None, tuple[Cut, ...]]:
    """(extra MACs, cuts) of the cheapest path with no edge above `peak_bytes`; (None, ()) where there is none."""
    calls = candidates.live_bytes.shape[0]
    counts = np.array(candidates.counts, np.int64)
    distance = np.full(calls + 1, np.inf)
    distance[0] = 0.0
    came_from = [(0, 0)] * (calls + 1)
    for end in range(1, calls + 1):
        allowed = candidates.live_bytes[:end, end, :] <= peak_bytes
        lengths = (end - np.arange(end))[:, None] * counts[None, :]
        price = candidates.extra_macs[:end, end, :].astype(np.float64) * _STEP_PRICE + lengths
        total = np.where(allowed, price, np.inf) + distance[:end, None]
        best = int(np.argmin(total))
        first, count = divmod(best, len(counts))
        distance[end] = total[first, count]
        came_from[end] = first, count
    if not np.isfinite(distance[calls]):
        return None, ()
    cuts: list[Cut] = []
    end = calls
    while end > 0:
        first, count = came_from[end]
        cuts.append(Cut(first, end, int(counts[count])))
        end = first
    cuts.reverse()
    extra = sum(int(candidates.extra_macs[c.first, c.end, candidates.counts.index(c.tiles)]) for c in cuts)
    return extra, tuple(cuts)
