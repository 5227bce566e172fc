"""AdaRound: adaptive rounding of weights, layer by layer (Nagel et al. 2020, "Up or Down? Adaptive Rounding").

Nearest is the best rounding of each weight and not of a layer: errors of weights that are read together can cancel.
Each weight's choice, down or up, is relaxed to h in [0, 1], the layer's output on sampled windows is brought near the
float one by gradient descent, and a regulariser drives every h to 0 or 1. Layers are taken in network order, and each
reads the outputs of the layers rounded before it (the paper's asymmetric reconstruction, eq. 25).

In numpy: a layer is one matrix product, and its gradient another, so there is nothing to trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ZETA, _GAMMA = 1.1, -0.1
"""Stretch of the rectified sigmoid (eq. 23; Louizos et al. 2018)."""
_BETA = (20.0, 2.0)
"""The regulariser's exponent, annealed from the first to the second: free first, decided at the end (eq. 24)."""
_WARM_UP = 0.2
"""Share of the steps without regulariser."""
_NEWTON_STEPS = 6
_LEAST_OPEN = 0.01
"""Share of windows a channel is at least taken to be unclamped on: a few of them alone must not move its bias."""


@dataclass(frozen=True)
class AdaRoundOptions:
    """Options of AdaRound for each layer."""

    steps: int = 500
    batch: int = 256
    """Windows a step."""
    learning_rate: float = 5e-2
    """Learning rate of Adam, for the logit of h."""
    regularisation: float = 10.0
    """Weight of the regulariser per weight, where one weight's share of the error of nearest rounding counts 1."""


@dataclass(frozen=True, eq=False)
class LayerProblem:
    """One layer as a matrix: inputs, outputs to fit, and scales of its weights."""

    windows: np.ndarray
    """float32 (n, k) with k = taps x input channels, or for a depthwise layer (n, taps, channels): inputs of the layer
    in the quantized network."""
    target: np.ndarray
    """float32 (n, out): the float layer's output on the float network's windows, before the activation function."""
    kernel: np.ndarray
    """float32 (k, out), or (taps, channels)."""
    scales: np.ndarray
    """float32 (out,)."""
    bias: np.ndarray
    """float32 (out,): where the search for the best one starts, the float one."""
    limit: int
    """Largest quantized value."""
    ceiling: float | None
    """Upper clamp of the activation function (6 of ReLU6), infinity for ReLU; None if linear."""


def response(windows: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """The outputs (n, out): matrix product, or the channel-by-channel one of a depthwise layer."""
    return windows @ kernel if windows.ndim == 2 else np.einsum("ntc,tc->nc", windows, kernel, optimize=True)


def adaround(problem: LayerProblem, options: AdaRoundOptions, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Quantized values, float32 shaped as the kernel, and the bias, float32 (out,), that fits them best.

    Never worse than nearest rounding on the windows: of the two the better one is returned, output channel by channel.
    """
    low = np.floor(problem.kernel / problem.scales)
    share = problem.kernel / problem.scales - low
    free = (problem.kernel != 0.0) & (np.abs(problem.kernel) <= problem.scales * problem.limit)  # zeros stay zero
    nearest = np.clip(np.rint(problem.kernel / problem.scales), -problem.limit, problem.limit)
    candidates = [nearest]
    if free.any() and options.steps:
        up = _descend(problem, low, share, free, nearest, options, seed)
        learned = np.where(free, np.clip(low + up, -problem.limit, problem.limit), nearest)
        candidates.append(learned.astype(np.float32))
    scored = [_settled(problem, quantized.astype(np.float32)) for quantized in candidates]
    best = np.argmin([error for _, error in scored], axis=0)
    channels = np.arange(len(best))
    quantized = np.stack(candidates)[best, :, channels].T
    return np.ascontiguousarray(quantized, np.float32), np.stack([bias for bias, _ in scored])[best, channels]


def _settled(problem: LayerProblem, quantized: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bias that fits a rounding best, and the mean squared error of each output with it. Newton's method on the
    squared error after the activation function: values that are clamped on both sides do not count. The mean error
    before it would depend on values that are always clamped.
    """
    given = response(problem.windows, quantized * problem.scales)
    wanted = activated(problem.target, problem.ceiling)
    bias = problem.bias.astype(np.float32)
    best, least = bias, np.full(bias.shape, np.inf, np.float32)
    for _ in range(_NEWTON_STEPS if problem.ceiling is not None else 2):
        shifted = given + bias
        off = activated(shifted, problem.ceiling) - wanted
        error = (off**2).mean(axis=0)
        best, least = np.where(error < least, bias, best), np.minimum(error, least)
        open_share = np.ones(1, np.float32)
        if problem.ceiling is not None:
            opened = (shifted > 0.0) & (shifted < problem.ceiling)
            off, open_share = np.where(opened, off, 0.0), opened.mean(axis=0)
        bias = (bias - off.mean(axis=0) / np.maximum(open_share, _LEAST_OPEN)).astype(np.float32)
    return best, least


def activated(values: np.ndarray, ceiling: float | None) -> np.ndarray:
    """Values clamped to [0, ceiling], or as they are where there is no activation function."""
    return values if ceiling is None else np.clip(values, 0.0, ceiling)


def _descend(
    problem: LayerProblem,
    low: np.ndarray,
    share: np.ndarray,
    free: np.ndarray,
    nearest: np.ndarray,
    options: AdaRoundOptions,
    seed: int,
) -> np.ndarray:
    """h of each weight after the descent, rounded to 0 or 1."""
    random = np.random.default_rng(seed)
    windows, scales, ceiling = problem.windows, problem.scales, problem.ceiling
    wanted = activated(problem.target, ceiling)
    bias, error = _settled(problem, nearest.astype(np.float32))
    # Each output channel counts by its error under nearest rounding, shared out among its weights. A channel that is
    # right as it is (or always clamped) must not count without bound.
    weight = (free.sum(axis=0) / np.maximum(error, 1e-3 * error.mean() + 1e-12)).astype(np.float32)
    inside = np.clip((share - _GAMMA) / (_ZETA - _GAMMA), 1e-4, 1 - 1e-4)
    logit = np.log(inside / (1.0 - inside)).astype(np.float32)
    mean, square = np.zeros_like(logit), np.zeros_like(logit)
    size = min(options.batch, len(windows))
    for step in range(options.steps):
        chosen = random.integers(len(windows), size=size)
        x = windows[chosen]
        sigmoid = 1.0 / (1.0 + np.exp(-logit))
        stretched = sigmoid * (_ZETA - _GAMMA) + _GAMMA
        h = np.clip(stretched, 0.0, 1.0)
        quantized = np.where(free, np.clip(low + h, -problem.limit, problem.limit), nearest).astype(np.float32)
        given = response(x, quantized * scales) + bias
        off = activated(given, ceiling) - wanted[chosen]
        if ceiling is not None:
            off = np.where((given > 0.0) & (given < ceiling), off, 0.0)
        off *= weight * (2.0 / size)
        slope = (x.T @ off if x.ndim == 2 else np.einsum("ntc,nc->tc", x, off, optimize=True)) * scales
        progress = (step / options.steps - _WARM_UP) / (1.0 - _WARM_UP)
        if progress > 0.0:
            beta = _BETA[1] + 0.5 * (_BETA[0] - _BETA[1]) * (1.0 + np.cos(np.pi * progress))
            undecided = 2.0 * h - 1.0
            slope -= options.regularisation * 2.0 * beta * np.sign(undecided) * np.abs(undecided) ** (beta - 1.0)
        slope *= np.where((stretched > 0.0) & (stretched < 1.0) & free, (_ZETA - _GAMMA) * sigmoid * (1 - sigmoid), 0)
        mean += 0.1 * (slope - mean)
        square += 0.001 * (slope**2 - square)
        corrected = mean / (1.0 - 0.9 ** (step + 1)), square / (1.0 - 0.999 ** (step + 1))
        logit -= options.learning_rate * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    return (logit > 0.0).astype(np.float32)
