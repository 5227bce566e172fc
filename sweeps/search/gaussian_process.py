"""Gaussian processes of a search: scales are fitted at ever wider intervals, since that takes the longest."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

FITTED = 120
"""Trials up to which the processes' scales are fitted; with more they hardly move."""
REFITTED = 1.125
"""By how much the trials grow before scales are fitted anew: that takes longer than all the rest."""
CONDITIONED = 128
"""Trials that a process is conditioned on, spread over all: its time grows with their cube."""


def fitted_process(features: np.ndarray, values: np.ndarray) -> GaussianProcessRegressor:
    """A process through (N, features) and their values, (N,): scales as of the last rung, conditioned on at most
    `CONDITIONED` of them, spread over all."""
    first = fitting_rung(min(len(values), FITTED))
    kernel = _scales(features[:first].tobytes(), values[:first].tobytes(), features.shape[1])
    spread = np.unique(np.linspace(0, len(values) - 1, min(len(values), CONDITIONED)).round().astype(int))
    return GaussianProcessRegressor(kernel, normalize_y=True, optimizer=None).fit(features[spread], values[spread])


@lru_cache(maxsize=16)
def _scales(features: bytes, values: bytes, dimensions: int) -> Kernel:
    """The kernel of greatest marginal likelihood."""
    smooth = Matern(np.ones(dimensions), (0.1, 10.0), nu=2.5)
    kernel = ConstantKernel(1.0) * smooth + WhiteKernel(1e-3, (1e-6, 0.1))
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(np.frombuffer(features).reshape(-1, dimensions), np.frombuffer(values))
    return process.kernel_


def fitting_rung(count: int) -> int:
    """The last count, up to this one, at which scales are fitted."""
    rung = following = 1
    while following <= count:
        rung, following = following, max(following + 1, int(following * REFITTED))
    return rung
