"""The paired interval of two candidates' mIoU, where the two can be paired."""

from __future__ import annotations

from evaluation.accuracy import Interval, Scores, paired_difference_interval


def paired_interval(one: Scores, other: Scores, seed: int) -> Interval | None:
    """The 95 % interval of `one.miou - other.miou`; None where the two were not scored on the same images, labels and
    classes, e.g. after the data were changed in mid-study."""
    try:
        return paired_difference_interval(one, other, seed=seed)
    except ValueError:
        return None
