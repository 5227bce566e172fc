"""Gaussian processes of the sampler. Length scales, the slow part, are refitted at ever wider intervals."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

FITTED = 120
"""Most trials to which length scales are fitted; with more they hardly change."""
REFITTED = 1.125
"""Growth factor of the number of trials between two fits of the length scales."""
CONDITIONED = 128
"""Most trials on which a process is conditioned, evenly spread over all: the time is cubic in their number."""


def fitted_process(features: np.ndarray, values: np.ndarray) -> GaussianProcessRegressor:
    """A process for features (N, F) and values (N,): length scales of the last fit, conditioned on at most
    `CONDITIONED` of the rows, evenly spread."""
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
    """The largest number of trials, at most `count`, at which length scales are fitted."""
    rung = following = 1
    while following <= count:
        rung, following = following, max(following + 1, int(following * REFITTED))
    return rung
