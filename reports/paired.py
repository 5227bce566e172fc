"""Paired intervals of the difference in mIoU of two candidates."""

from __future__ import annotations

from evaluation.accuracy import Interval, Scores, paired_difference_interval


def paired_interval(one: Scores, other: Scores, seed: int) -> Interval | None:
    """The 95 % interval of `one.miou - other.miou`; None if the two were not scored on the same images, labels and
    classes, e.g. after a change of the data during the study."""
    try:
        return paired_difference_interval(one, other, seed=seed)
    except ValueError:
        return None
