"""Least squares after pruning: weights are re-fitted so that the channels left give the outputs of all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.pruning.groups import kept_inputs
from deeplab.pruning.ranking import Inputs

PIXELS_PER_IMAGE = 256
"""Pixels sampled of each image (`deeplab.inference`): enough for the covariance of a thousand channels."""
RIDGE = 1e-4
"""Ridge as a share of the mean variance of a channel: keeps the fit from directions the images hardly show."""


def ridge_of(covariance: np.ndarray) -> float:
    """The ridge: a number added to the diagonal of a covariance before it is solved with."""
    return float(RIDGE * np.trace(covariance) / len(covariance) + np.finfo(np.float64).tiny)


def refitted(checkpoint: Checkpoint, keep: Mapping[str, np.ndarray], inputs: Inputs) -> Checkpoint:
    """Weights of the whole network such that the kept channels alone explain each 1x1 convolution's output best."""
    weights = dict(checkpoint.weights)
    for name, kept in kept_inputs(checkpoint.spec, keep).items():
        kernel = weights[f"{name}/kernel"].astype(np.float64)
        if kernel.shape[:2] != (1, 1) or len(kept) == kernel.shape[2]:
            continue
        x = inputs[name].astype(np.float64)
        mean = x.mean(axis=0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        present = covariance[np.ix_(kept, kept)]
        fitted = np.linalg.solve(present + ridge_of(present) * np.eye(len(kept)), covariance[kept] @ kernel[0, 0])
        # The mean of the channels that are removed is added to the bias.
        shift = mean @ kernel[0, 0] - mean[kept] @ fitted
        whole = np.zeros_like(kernel)
        whole[0, 0, kept] = fitted
        weights[f"{name}/kernel"] = whole.astype(np.float32)
        weights[f"{name}/bias"] = (weights[f"{name}/bias"] + shift).astype(np.float32)
    return Checkpoint(checkpoint.spec, weights, checkpoint.notes)
