"""The growth of the front: its hypervolume after each trial, by number of trials and by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.front import FrontPoint, hypervolume
from reports.record import StudyRecord, point_of


@dataclass(frozen=True)
class HypervolumeGrowth:
    """The hypervolume of a study after each trial, as a share of the box of `reports.front.hypervolume`."""

    trials: tuple[int, ...]
    """Number of trials, pruned and failed ones included."""
    seconds: tuple[float, ...] | None
    """Wall time of the study in seconds after these trials; None if the record does not contain it."""
    shares: tuple[float, ...]
    """Dominated share of the box after these trials."""


def growth(record: StudyRecord) -> HypervolumeGrowth | None:
    """The growth of a study's hypervolume; None without a baseline, whose memory bounds the box."""
    if record.baseline is None:
        return None
    reference = record.baseline.measured.memory.peak_memory_bytes
    ends = [trial.finished_s for trial in record.trials if trial.finished_s is not None]
    timed = len(ends) == len(record.trials)
    trials = sorted(record.trials, key=lambda trial: (trial.finished_s, trial.number)) if timed else record.trials
    points = [point_of(trial, record.config) if trial.feasible and trial.measurement else None for trial in trials]
    return HypervolumeGrowth(
        tuple(range(1, len(trials) + 1)),
        tuple(sorted(ends)) if timed else None,
        tuple(hypervolumes(points, reference)),
    )


def hypervolumes(points: Sequence[FrontPoint | None], reference_memory_bytes: float) -> list[float]:
    """The hypervolumes of the first 1, 2, ... points; a point is None for a trial that was not measured."""
    front: list[FrontPoint] = []
    shares: list[float] = []
    share = 0.0
    for point in points:
        if point is not None and not any(_covers(other, point) for other in front):
            front = [other for other in front if not _covers(point, other)] + [point]
            share = hypervolume(front, reference_memory_bytes)
        shares.append(share)
    return shares


def _covers(one: FrontPoint, other: FrontPoint) -> bool:
    return one.miou >= other.miou and one.peak_memory_bytes <= other.peak_memory_bytes
