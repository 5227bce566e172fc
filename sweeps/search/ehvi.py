"""Sampler for candidates of unequal cost: the greatest expected hypervolume improvement per second.

Gaussian processes predict mIoU from compression, and memory from compression and tiles. The acquisition function is the
expected hypervolume improvement (Emmerich, Giannakoglou & Naujoks 2006, IEEE TEVC 10:421) divided by the candidate's
time (expected improvement per second: Snoek, Larochelle & Adams 2012, NeurIPS 25, section 3.2). Times differ much: a
measured network in other tiles needs a new plan only, and other bits need no new pruning, the longest stage.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from deeplab.compression import STAGE_BITS, Compression
from reports.front import FrontPoint, staircase
from reports.record import State, Trial
from sweeps.config.constraints import costs_of
from sweeps.config.space import Candidate, Space

USEFUL_DROP = 0.1
"""Loss of mIoU against the baseline beyond which a candidate has no value."""
DRAWS = 16
"""Quantiles of the predicted mIoU over which the improvement is averaged."""


@dataclass(frozen=True)
class Costs:
    """Rough times in seconds, from the configuration alone: measured times would make every run different."""

    plan: float = 0.6
    network: float = 2.0
    """Calibration, quantization and scoring."""
    prune: float = 10.0
    """Added where no earlier candidate had the same pruning."""


@dataclass(frozen=True)
class Acquisition:
    """Costs and limits of the acquisition function."""

    costs: Costs = Costs()
    limits: Mapping[str, float] = field(default_factory=dict)
    """Limits by the names of `sweeps.config.constraints.PLANNED`."""
    miou_drop: float | None = None
    """Largest loss of mIoU against the baseline."""


UNLIMITED = Acquisition()


def next_candidate(
    space: Space,
    told: Sequence[Trial],
    pending: Sequence[Candidate],
    untried: Sequence[Candidate],
    acquisition: Acquisition,
) -> Candidate:
    """The untried candidate to measure next: first the corners of the space, then the best by the acquisition function.

    Args:
        told: all finished trials.
        pending: candidates under measurement, assumed to result in their predicted values.
    """
    left, measured = set(untried), [trial for trial in told if trial.state is State.COMPLETE]
    if corners := [candidate for candidate in _corners(space) if candidate in left]:
        return corners[0]
    if not measured:
        return untried[0]
    seen = [(_candidate(trial).compression, trial) for trial in told]
    made = {compression for compression, trial in seen if trial.state is State.COMPLETE or trial.early is not None}
    made |= {candidate.compression for candidate in pending}
    failed = {compression for compression, trial in seen if trial.state is State.FAILED}
    miou, spread = _predicted_miou(space, measured, told, [*untried, *pending])
    costs = {
        name: _predicted_cost(space, told, name, [*untried, *pending])
        for name in ("peak_memory_mb", *acquisition.limits)
    }
    memory = costs["peak_memory_mb"]
    baseline = next((trial for trial in measured if trial.number == 0), measured[0])
    drop = min(USEFUL_DROP, acquisition.miou_drop or USEFUL_DROP)
    reference = baseline.measured.scores.miou - drop, math.log(costs_of(baseline)["peak_memory_mb"])
    points = [(t.measured.scores.miou, math.log(costs_of(t)["peak_memory_mb"])) for t in measured if t.feasible]
    points += list(zip(miou[len(untried) :], memory[len(untried) :], strict=True))
    count = len(untried)
    gains = expected_gain(points, reference, miou[:count], spread[:count], memory[:count])
    # A compression that failed would fail again in other tiles.
    eligible = np.array([candidate.compression not in failed for candidate in untried])
    for name, limit in acquisition.limits.items():
        eligible &= costs[name][:count] <= math.log(limit)
    gains[~eligible] = 0.0
    pruned = {(compression.pruning, compression.sparsity) for compression in made}
    seconds = np.array([_seconds(candidate.compression, made, pruned, acquisition.costs) for candidate in untried])
    return untried[int(np.argmax((gains if gains.max() > 0 else spread[:count] + eligible) / seconds))]


def expected_gain(
    points: Sequence[tuple[float, float]],
    reference: tuple[float, float],
    miou: np.ndarray,
    spread: np.ndarray,
    memory: np.ndarray,
) -> np.ndarray:
    """Expected hypervolume improvement of each candidate, float64 (N,).

    Args:
        points: (mIoU, memory) of the known points.
        reference: least mIoU and largest memory of the dominated box.
        miou, spread: mean and standard deviation of the predicted mIoU, (N,) each.
        memory: predicted memory, (N,), taken as exact; in the unit of `points`.
    """
    least, most = reference
    useful = [FrontPoint(n, a, m) for n, (a, m) in enumerate(points) if a > least and m < most]
    front = staircase(useful)
    edges = np.array([*(point.peak_memory_bytes for point in front), most])
    heights = np.array([point.miou for point in front])  # mIoU of the front between edges i and i + 1
    from scipy.special import ndtri  # loaded for this sampler alone

    draws = miou[:, None] + spread[:, None] * ndtri((np.arange(DRAWS) + 0.5) / DRAWS)  # (N, DRAWS)
    gain = np.maximum(draws - least, 0) * np.maximum(np.minimum(edges[0], most) - memory, 0)[:, None]
    for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
        width = np.maximum(right - np.maximum(left, memory), 0)
        gain += np.maximum(draws - height, 0) * width[:, None]
    mean: np.ndarray = gain.mean(axis=1)
    return mean


def _seconds(
    compression: Compression, done: set[Compression], pruned: Collection[tuple[str, float]], costs: Costs
) -> float:
    if compression in done:
        return costs.plan
    known = (compression.pruning, compression.sparsity) in pruned or compression.sparsity == 0.0
    return costs.plan + costs.network + (0.0 if known else costs.prune)


def _corners(space: Space) -> list[Candidate]:
    """The first candidates of a search: most and fewest bits, lowest and highest sparsity, in the most tiles."""
    levels = space.levels()
    activations, tiles = levels["activation_bits"], levels["tile_count"][-1]
    weights = [bits for bits in levels["weight_bits"] if bits != 32] or list(levels["weight_bits"])
    stages = {name: own[-1] for name, own in space.stage_levels.items()}
    wide, narrow = space.sparsity[0], space.sparsity[-1]
    middle = weights[len(weights) // 2]
    made = [
        space.candidate(levels["pruning"][0], sparsity, bits, activation, tiles, **stages)
        for sparsity, bits, activation in (
            (wide, weights[-1], activations[min(1, len(activations) - 1)]),
            (wide, weights[0], activations[0]),
            (narrow, middle, activations[min(1, len(activations) - 1)]),
        )
    ]
    return list(dict.fromkeys(made))


def _predicted_miou(
    space: Space, measured: Sequence[Trial], told: Sequence[Trial], wanted: Sequence[Candidate]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the predicted mIoU, (N,) each. Exact for networks measured in any tiles, and
    bounded by screening for pruned ones."""
    from sweeps.search.gaussian_process import fitted_process  # scikit-learn takes seconds to load

    features = _features(space)
    known = {_candidate(trial).compression: trial.measured.scores.miou for trial in measured}
    process = fitted_process(features.coarseness(known), np.array(list(known.values())))
    compressions = list(dict.fromkeys(candidate.compression for candidate in wanted))
    mean, deviation = process.predict(features.coarseness(compressions), return_std=True)
    predicted = dict(zip(compressions, zip(mean, deviation, strict=True), strict=True))
    for compression, most in _at_most(told).items():
        if compression in predicted:
            predicted[compression] = min(predicted[compression][0], most), 0.0
    predicted |= {compression: (miou, 0.0) for compression, miou in known.items()}
    found = np.array([predicted[candidate.compression] for candidate in wanted])
    return found[:, 0], found[:, 1]


def _at_most(told: Sequence[Trial]) -> dict[Compression, float]:
    """Upper bounds from screening on the mIoU of pruned networks."""
    scores = {trial.number: trial.measurement.scores.miou for trial in told if trial.measurement is not None}
    most: dict[Compression, float] = {}
    for trial in told:
        compression = _candidate(trial).compression
        bounds = [most[compression]] if compression in most else []
        if trial.bound is not None:
            bounds.append(trial.bound.miou)
        if trial.early is not None:
            bounds.append(scores[trial.early.dominating] + trial.early.upper)
        if bounds and trial.state is State.PRUNED:
            most[compression] = min(bounds)
    return most


def _predicted_cost(space: Space, told: Sequence[Trial], name: str, wanted: Sequence[Candidate]) -> np.ndarray:
    """Predicted logarithm of one of `sweeps.config.constraints.PLANNED`, (N,)."""
    from sweeps.search.gaussian_process import fitted_process

    planned = [trial for trial in told if costs_of(trial)]
    features = _features(space)
    values = np.log([max(costs_of(trial)[name], 1e-9) for trial in planned])
    process = fitted_process(features.size(_candidate(trial) for trial in planned), values)
    predicted: np.ndarray = process.predict(features.size(wanted))
    return predicted


def _candidate(trial: Trial) -> Candidate:
    return _parsed(tuple(trial.params.items()))


@lru_cache(maxsize=1 << 14)
def _parsed(params: tuple[tuple[str, Any], ...]) -> Candidate:
    return Candidate.from_params(dict(params))


class _Features:
    """Feature vectors of candidates on which accuracy and memory depend smoothly, each computed once."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._coarseness: dict[Compression, list[float]] = {}
        self._size: dict[Candidate, list[float]] = {}

    def coarseness(self, compressions: Iterable[Compression]) -> np.ndarray:
        """Degree of each kind of compression, about 0 to 1: float64 (N, kinds)."""
        known = self._coarseness
        return np.array([known.get(c) or known.setdefault(c, _coarseness(self._space, c)) for c in compressions])

    def size(self, candidates: Iterable[Candidate]) -> np.ndarray:
        """Features in which the logarithm of memory is about linear: float64 (N, features)."""
        known = self._size
        return np.array([known.get(c) or known.setdefault(c, _size(self._space, c)) for c in candidates])


@lru_cache(maxsize=4)
def _features(space: Space) -> _Features:
    return _Features(space)


def _coarseness(space: Space, compression: Compression) -> list[float]:
    """The features of one compression; the rounding error at b bits is proportional to 2^-b."""
    candidate = Candidate(compression)
    removed = [compression.sparsity * (compression.pruning == method) for method in space.pruning]
    names = ("weight_bits", "activation_bits", *(name for name in STAGE_BITS if getattr(space, name) is not None))
    widths = [
        getattr(compression, name) if name in ("weight_bits", "activation_bits") else candidate.bits_of(name)
        for name in names
    ]
    return [*removed, *(2.0 ** -(bits - 4) if bits >= 4 else 2.0 - bits / 4 for bits in widths)]


def _size(space: Space, candidate: Candidate) -> list[float]:
    compression = candidate.compression
    removed = [math.log(1 - 0.9 * compression.sparsity) * (compression.pruning == method) for method in space.pruning]
    stages = [math.log2(candidate.bits_of(name)) / 3 for name in STAGE_BITS if getattr(space, name) is not None]
    bits = [math.log2(compression.weight_bits) / 3, math.log2(compression.activation_bits) / 3]
    return [*removed, *bits, *stages, math.log2(candidate.tile_count) / 3]
