"""What to measure next where candidates do not cost the same: the greatest expected gain of hypervolume per second.

Gaussian processes foretell mIoU from compression, and memory from compression and tiles; the gain is the expected
hypervolume improvement (Emmerich, Giannakoglou & Naujoks 2006, IEEE TEVC 10:421), divided by what the candidate costs
(expected improvement per second: Snoek, Larochelle & Adams 2012, NeurIPS 25, section 3.2). What makes this pay here is
known beforehand: tiles change no accuracy, so a network that was measured costs a plan in other tiles, and bits need no
new pruning, which is what takes the time.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from deeplab.compression import STAGE_BITS, Compression
from reports.record import State, Trial
from sweeps.judging import costs_of
from sweeps.space import Candidate, Space

USEFUL_DROP = 0.1
"""mIoU below the baseline's that is worth nothing."""
QUANTILES = norm.ppf((np.arange(16) + 0.5) / 16)
"""Of the foretold mIoU, over which the gain is averaged."""
FITTED = 120
"""Networks up to which the processes' scales are fitted anew; with more they hardly move."""


@dataclass(frozen=True)
class Costs:
    """Rough seconds, from the configuration alone: what a clock says would be another thing in every run."""

    plan: float = 0.6
    network: float = 2.0
    """Calibrate, quantise, score."""
    prune: float = 10.0
    """Besides, where the network's channels or weights were not removed before."""
    limit_mb: float | None = None
    """Peak memory above which nothing is worth anything, MB."""


def choose(
    space: Space, told: Sequence[Trial], pending: Sequence[Candidate], untried: Sequence[Candidate], costs: Costs
) -> Candidate:
    """The untried candidate to measure next.

    Args:
        told: every trial that has ended, the baseline among them; without it, or while fewer than `space` has
            dimensions, candidates are chosen to span the space.
        pending: candidates that are being measured: taken to turn out as foretold.
    """
    measured = [trial for trial in told if trial.state is State.COMPLETE]
    seen = {Candidate.from_params(trial.params): trial for trial in told}
    done = {candidate.compression for candidate, trial in seen.items() if trial.state is State.COMPLETE}
    done |= {candidate.compression for candidate in pending}
    corners = [candidate for candidate in _corners(space) if candidate not in seen and candidate in set(untried)]
    if corners:
        return corners[0]
    if not measured:
        return untried[0]
    memory = _foretold_memory(space, told, [*untried, *pending])
    miou, spread = _foretold_miou(space, measured, [*untried, *pending])
    baseline = next((trial for trial in measured if trial.number == 0), measured[0])
    most = baseline.memory.peak_memory_bytes
    if costs.limit_mb is not None:
        most = min(most, costs.limit_mb * 1e6)
    reference = baseline.measurement.scores.miou - USEFUL_DROP, math.log(most)
    points = [(t.measurement.scores.miou, math.log(t.memory.peak_memory_bytes)) for t in measured if t.feasible]
    points += list(zip(miou[len(untried) :], memory[len(untried) :], strict=True))
    gains = expected_gain(points, reference, miou[: len(untried)], spread[: len(untried)], memory[: len(untried)])
    pruned = {(compression.pruning, compression.sparsity) for compression in done} | {("channels", 0.0)}
    seconds = np.array([_seconds(candidate.compression, done, pruned, costs) for candidate in untried])
    failed = {candidate.compression for candidate, trial in seen.items() if trial.state is State.FAILED}
    gains[[candidate.compression in failed for candidate in untried]] = 0.0  # in other tiles it would fail again
    if gains.max() > 0:
        return untried[int(np.argmax(gains / seconds))]
    return untried[int(np.argmax(spread[: len(untried)] / seconds))]


def expected_gain(
    points: Sequence[tuple[float, float]],
    reference: tuple[float, float],
    miou: np.ndarray,
    spread: np.ndarray,
    memory: np.ndarray,
) -> np.ndarray:
    """Expected hypervolume improvement of each candidate, float64 (N,).

    Args:
        points: mIoU (up) and memory (down) of what is known.
        reference: the worst of both that is worth anything.
        miou, spread: mean and standard deviation of what is foretold, (N,) each.
        memory: foretold, (N,); taken as sure.
    """
    least, most = reference
    inside = sorted((m, a) for a, m in points if a > least and m < most)
    front: list[tuple[float, float]] = []
    for m, a in inside:
        if not front or a > front[-1][1]:
            front.append((m, a))
    edges = np.array([*(m for m, _ in front), most])  # from here on the front's mIoU is heights[i]
    heights = np.array([a for _, a in front])
    draws = miou[:, None] + spread[:, None] * QUANTILES  # (N, draws)
    gain = np.maximum(draws - least, 0) * np.maximum(np.minimum(edges[0], most) - memory, 0)[:, None]
    for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
        width = np.maximum(right - np.maximum(left, memory), 0)
        gain += np.maximum(draws - height, 0) * width[:, None]
    return gain.mean(axis=1)


def _seconds(compression: Compression, done: set[Compression], pruned: set[tuple], costs: Costs) -> float:
    if compression in done:
        return costs.plan
    known = (compression.pruning, compression.sparsity) in pruned or compression.sparsity == 0.0
    return costs.plan + costs.network + (0.0 if known else costs.prune)


def _corners(space: Space) -> list[Candidate]:
    """Where the search begins: most bits and fewest, whole and narrow, in the most tiles."""
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


def _foretold_miou(
    space: Space, measured: Sequence[Trial], wanted: Sequence[Candidate]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, (N,) each; sure for networks that were measured, in whatever tiles."""
    known = {Candidate.from_params(t.params).compression: t.measurement.scores.miou for t in measured}
    process = _fitted(np.array([_coarseness(space, c) for c in known]), np.array(list(known.values())))
    compressions = list(dict.fromkeys(candidate.compression for candidate in wanted))
    mean, deviation = process.predict(np.array([_coarseness(space, c) for c in compressions]), return_std=True)
    foretold = dict(zip(compressions, zip(mean, deviation, strict=True), strict=True))
    foretold |= {compression: (miou, 0.0) for compression, miou in known.items()}
    found = np.array([foretold[candidate.compression] for candidate in wanted])
    return found[:, 0], found[:, 1]


def _foretold_memory(space: Space, told: Sequence[Trial], wanted: Sequence[Candidate]) -> np.ndarray:
    """Logarithm of the peak memory in bytes, (N,)."""
    planned = [trial for trial in told if costs_of(trial)]
    features = np.array([_size(space, Candidate.from_params(trial.params)) for trial in planned])
    values = np.array([math.log(trial.memory.peak_memory_bytes) for trial in planned])
    return _fitted(features, values).predict(np.array([_size(space, candidate) for candidate in wanted]))


def _fitted(features: np.ndarray, values: np.ndarray) -> GaussianProcessRegressor:
    smooth = Matern(np.ones(features.shape[1]), (0.1, 10.0), nu=2.5)
    kernel = ConstantKernel(1.0) * smooth + WhiteKernel(1e-3, (1e-6, 0.1))
    optimizer = "fmin_l_bfgs_b" if len(values) <= FITTED else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process = GaussianProcessRegressor(kernel, normalize_y=True, optimizer=optimizer, random_state=0)
        return process.fit(features, values)


def _coarseness(space: Space, compression: Compression) -> list[float]:
    """How far a network is from the original, by each means, about 0 to 1: a grid of b bits errs by 2^-b."""
    candidate = Candidate(compression)
    removed = [compression.sparsity * (compression.pruning == method) for method in space.pruning]
    names = ("weight_bits", "activation_bits", *(name for name in STAGE_BITS if getattr(space, name) is not None))
    widths = [
        getattr(compression, name) if name in ("weight_bits", "activation_bits") else candidate.bits_of(name)
        for name in names
    ]
    return [*removed, *(2.0 ** -(bits - 4) if bits >= 4 else 2.0 - bits / 4 for bits in widths)]


def _size(space: Space, candidate: Candidate) -> list[float]:
    """What memory depends on, about linear in its logarithm."""
    compression = candidate.compression
    removed = [math.log(1 - 0.9 * compression.sparsity) * (compression.pruning == method) for method in space.pruning]
    stages = [math.log2(candidate.bits_of(name)) / 3 for name in STAGE_BITS if getattr(space, name) is not None]
    bits = [math.log2(compression.weight_bits) / 3, math.log2(compression.activation_bits) / 3]
    return [*removed, *bits, *stages, math.log2(candidate.tile_count) / 3]
