"""Least squares after pruning: weights are re-fitted so that the channels left give the outputs of all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.network import convolutions, is_depthwise, weights, with_weights
from deeplab.pruning.groups import kept_channels_of
from deeplab.pruning.ranking import Inputs
from evaluation.graph import Graph

PIXELS_PER_IMAGE = 256
"""Pixels sampled of each image (`deeplab.inference`): enough for the covariance of a thousand channels."""
RIDGE = 1e-4
"""Ridge as a share of the mean variance of a channel: keeps the fit from directions the images hardly show."""


def ridge_of(covariance: np.ndarray) -> float:
    """The ridge: a number added to the diagonal of a covariance before it is solved with."""
    return float(RIDGE * np.trace(covariance) / len(covariance) + np.finfo(np.float64).tiny)


def refitted(network: Graph, keep: Mapping[str, np.ndarray], inputs: Inputs) -> Graph:
    """Weights of the whole network such that the kept channels alone explain each 1x1 convolution's output best."""
    present, changed = weights(network), {}
    stays = kept_channels_of(network, keep)
    for operator in convolutions(network):
        name, kept = operator.name, stays[operator.inputs[0]]
        kernel = present[f"{name}/kernel"].astype(np.float64)
        if is_depthwise(operator) or kernel.shape[:2] != (1, 1) or len(kept) == kernel.shape[2]:
            continue
        x = inputs[name].astype(np.float64)
        mean = x.mean(axis=0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        left = covariance[np.ix_(kept, kept)]
        fitted = np.linalg.solve(left + ridge_of(left) * np.eye(len(kept)), covariance[kept] @ kernel[0, 0])
        # The mean of the channels that are removed is added to the bias.
        shift = mean @ kernel[0, 0] - mean[kept] @ fitted
        whole = np.zeros_like(kernel)
        whole[0, 0, kept] = fitted
        changed[f"{name}/kernel"] = whole.astype(np.float32)
        changed[f"{name}/bias"] = (present[f"{name}/bias"] + shift).astype(np.float32)
    return with_weights(network, changed)
