"""The Pareto front of a study (mIoU maximised, peak memory minimised), its hypervolume, and the selection of one
point."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

MEGABYTE = 1e6
NAMED_SKIPPED = 3
"""Most skipped points that the reason of a selection names."""


@dataclass(frozen=True)
class FrontPoint:
    """A feasible trial in the plane of the two objectives."""

    number: int
    miou: float
    peak_memory_bytes: float
    third: float = 0.0
    """A third objective, minimised; 0 in a study of two objectives."""


def pareto_front(points: Sequence[FrontPoint]) -> tuple[tuple[FrontPoint, ...], ...]:
    """The non-dominated points by ascending memory (with two objectives also by ascending mIoU); exact ties share an
    entry.

    A point is dominated if another is at least as good in every objective and better in one. In the sorted order below,
    only earlier points can dominate a point.
    """
    front: list[list[FrontPoint]] = []
    for point in sorted(points, key=lambda p: (p.peak_memory_bytes, -p.miou, p.third, p.number)):
        equal = next((tied for tied in front if _objectives(tied[0]) == _objectives(point)), None)
        if equal is not None:
            equal.append(point)
        elif not any(kept[0].miou >= point.miou and kept[0].third <= point.third for kept in front):
            front.append([point])
    return tuple(tuple(equal) for equal in front)


def staircase(points: Sequence[FrontPoint]) -> tuple[FrontPoint, ...]:
    """The front in the plane of memory and mIoU, ignoring a third objective; the first of equal points each."""
    return tuple(equal[0] for equal in pareto_front([replace(point, third=0.0) for point in points]))


def _objectives(point: FrontPoint) -> tuple[float, float, float]:
    return point.miou, point.peak_memory_bytes, point.third


def hypervolume(points: Sequence[FrontPoint], reference_memory_bytes: float) -> float:
    """Share of the box [0, reference memory] x [0, 1 mIoU] that the points dominate, in [0, 1].

    The reference point is mIoU 0 at the reference memory (the baseline's, in reports); points above it add nothing.
    """
    # Imported here: processes that only read a record, such as workers, do not load Optuna.
    from optuna._hypervolume import compute_hypervolume

    inside = [(-p.miou, p.peak_memory_bytes / reference_memory_bytes) for p in points]
    inside = [loss for loss in inside if loss[1] <= 1.0]
    if not inside:
        return 0.0
    return float(compute_hypervolume(np.array(inside), np.array([0.0, 1.0])))


def knee(front: Sequence[FrontPoint]) -> FrontPoint:
    """The point farthest above the line between the front's ends, in (log memory, mIoU), each scaled to [0, 1].

    The logarithm is used because savings of memory are factors. For ties, and a front of one or two points, it is the
    most accurate point. The greatest distance from the line of ends is due to Das (1999, Structural Optimization
    18:107).
    """
    first, last = front[0], front[-1]
    width = math.log(last.peak_memory_bytes / first.peak_memory_bytes)
    height = last.miou - first.miou
    if width == 0 or height == 0:
        return last

    def bulge(point: FrontPoint) -> float:
        x = math.log(point.peak_memory_bytes / first.peak_memory_bytes) / width
        return (point.miou - first.miou) / height - x

    # Rounded, so that points on the line itself tie rather than differ in the last bit.
    return max(front, key=lambda p: (round(bulge(p), 12), p.miou))


def choose(
    front: Sequence[FrontPoint],
    baseline_miou: float | None,
    rule: str,
    budget_mb: float | None = None,
    max_drop: float | None = None,
    exceeded: Mapping[int, str] = MappingProxyType({}),
) -> tuple[FrontPoint | None, str]:
    """Select a point by a rule on memory and mIoU. Returns the point, or None, and the reason.

    Args:
        front: points to select from.
        baseline_miou: mIoU of the uncompressed network; None if it was not scored.
        rule: knee, budget or max_drop.
        budget_mb: largest peak memory in MB (10^6 bytes), for `budget`.
        max_drop: largest loss of mIoU, for `max_drop`.
        exceeded: by trial number, a text of the promises that its program exceeds. Such a point is skipped while one
            within plan fits the rule, and the reason says so.

    Raises:
        ValueError: the number that the rule needs is not given.
    """
    first, first_reason = _by_rule(staircase(front), baseline_miou, rule, budget_mb, max_drop, of_rest=False)
    found, reason = first, first_reason
    left = list(front)
    skipped: list[FrontPoint] = []
    while found is not None and found.number in exceeded:
        skipped.append(found)
        left = [point for point in left if point.number != found.number]
        found, reason = _by_rule(staircase(left), baseline_miou, rule, budget_mb, max_drop, of_rest=True)
    if first is None or not skipped:
        return first, first_reason
    if found is not None:
        return found, f"{reason} {_skipped_reason(skipped, exceeded)}"
    over = exceeded[first.number]
    return first, f"{first_reason} But its C program exceeds its plan ({over}), and no point that fits is within plan."


def _skipped_reason(skipped: Sequence[FrontPoint], exceeded: Mapping[int, str]) -> str:
    """A sentence on the skipped points."""
    named = "; ".join(f"trial-{point.number:03d}: {exceeded[point.number]}" for point in skipped[:NAMED_SKIPPED])
    more = len(skipped) - NAMED_SKIPPED
    rest = f"; and {more} more" if more > 0 else ""
    if len(skipped) == 1:
        return f"The rule's first point was skipped, because its C program exceeds its plan ({named})."
    first = f"The rule's first {len(skipped)} points were skipped"
    return f"{first}, because their C programs exceed their plans ({named}{rest})."


def _by_rule(
    front: Sequence[FrontPoint],
    baseline_miou: float | None,
    rule: str,
    budget_mb: float | None,
    max_drop: float | None,
    of_rest: bool,
) -> tuple[FrontPoint | None, str]:
    """The point of a staircase that a rule selects, and the reason; `of_rest`: points that exceed their plans are left
    out."""
    if not front:
        return None, "No feasible trial completed, so there is nothing to choose from."
    rest = " of the rest" if of_rest else ""
    if rule == "budget":
        budget_mb = _given(budget_mb, "budget_mb", rule)
        within = [p for p in front if p.peak_memory_bytes <= budget_mb * MEGABYTE]
        if not within:
            smallest = front[0].peak_memory_bytes / MEGABYTE
            return None, f"No trial fits the budget of {budget_mb:g} MB; the smallest needs {smallest:.3f} MB."
        return within[-1], f"It is the most accurate{rest} that fits the budget of {budget_mb:g} MB."
    if rule == "max_drop":
        if baseline_miou is None:
            return None, "The baseline has no score, so no drop against it can be stated."
        max_drop = _given(max_drop, "max_drop", rule)
        within = [p for p in front if p.miou >= baseline_miou - max_drop]
        if not within:
            least = baseline_miou - front[-1].miou
            return None, f"No trial stays within {max_drop:g} mIoU of the baseline; the closest loses {least:.4f}."
        least_memory = f"It needs the least memory of all{' the rest' if of_rest else ''}"
        return within[0], f"{least_memory} that lose at most {max_drop:g} mIoU against the baseline."
    if len(front) < 3:
        points = f"{'rest of the front' if of_rest else 'front'} has {len(front)} point{'s' * (len(front) > 1)}"
        return knee(front), f"The {points}, too few for a knee; this is the most accurate."
    whole = "rest of the front" if of_rest else "front"
    return knee(front), (
        f"It is the knee of the {whole}: the point farthest above the line between the front's ends "
        "(mIoU against the logarithm of memory), beyond which a further saving costs accuracy faster."
    )


def _given(figure: float | None, name: str, rule: str) -> float:
    if figure is None:
        raise ValueError(f"the rule {rule} needs {name}")
    return figure
