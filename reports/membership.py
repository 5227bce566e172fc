"""The probability that a point is on the front: the share of bootstrap resamples in which no other dominates it.

Memory, MACs and flash are exact; accuracy is an estimate from a sample of images. All trials are scored with the same
image weights (the paired bootstrap of `evaluation.accuracy.interval`), and each resample has its own front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.accuracy import Scores, image_weights, resampled_mious
from reports.record import StudyRecord, point_of

RESAMPLES = 1000


def front_probability(record: StudyRecord, resamples: int = RESAMPLES) -> Mapping[int, float]:
    """The share of resamples, in [0, 1], in which each feasible trial is on the front, by trial number.

    Trials that were scored on other images or classes than the first feasible one cannot be paired, and are omitted.
    """
    trials = [trial for trial in record.trials if trial.feasible and trial.measurement is not None]
    trials = [trial for trial in trials if trial.measured.scores.scored_classes]
    if not trials:
        return {}
    first = trials[0].measured.scores
    trials = [trial for trial in trials if _paired(first, trial.measured.scores)]
    weights = image_weights(len(first.image_ids), resamples, int(record.config.get("seed", 0)))
    mious = np.array([resampled_mious(_in_order(trial.measured.scores, first), weights) for trial in trials])
    points = [point_of(trial, record.config) for trial in trials]
    costs = np.array([(point.peak_memory_bytes, point.third) for point in points])
    return dict(zip((trial.number for trial in trials), shares_on_front(mious, costs), strict=True))


def shares_on_front(mious: np.ndarray, costs: np.ndarray) -> Sequence[float]:
    """The share of resamples in which each trial is not dominated.

    Args:
        mious: mIoU, float64 (trials, resamples); maximised.
        costs: other objectives, float64 (trials, objectives), equal in all resamples; minimised.
    """
    order = np.lexsort(costs.T[::-1])
    mious, costs = mious[order], costs[order]
    shares = np.empty(len(order))
    only_first = (costs[:, 1:] == costs[:1, 1:]).all()
    cheaper_best = np.full(mious.shape[1], -np.inf)
    starts = np.flatnonzero(np.r_[True, (costs[1:] != costs[:-1]).any(axis=1)])
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        best = mious[start:end].max(axis=0)
        if not only_first:
            # Some earlier trials in this order cost more in a later objective.
            cheaper = mious[:start][(costs[:start] <= costs[start]).all(axis=1)]
            cheaper_best = cheaper.max(axis=0, initial=-np.inf)
        is_on = (mious[start:end] >= best) & (mious[start:end] > cheaper_best)
        shares[order[start:end]] = is_on.mean(axis=1)
        cheaper_best = np.maximum(cheaper_best, best)
    return shares.tolist()


def _paired(one: Scores, other: Scores) -> bool:
    return one.scored_classes == other.scored_classes and sorted(one.image_ids) == sorted(other.image_ids)


def _in_order(scores: Scores, like: Scores) -> Scores:
    return scores if scores.image_ids == like.image_ids else scores.subset(like.image_ids, like.scored_classes)
