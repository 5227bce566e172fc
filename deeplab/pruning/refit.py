"""Least squares after pruning: weights are re-fitted so that the channels left give the outputs of all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.network import convolutions, groups, is_depthwise, weights, with_weights
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
    """Weights of the whole network such that the kept channels alone explain each convolution's output best.

    The taps of a window are fitted one by one, each as if the others' errors did not depend on its own. A convolution
    that reads fewer samples than channels (of a pooled map) keeps its weights.
    """
    present, changed = weights(network), {}
    stays = kept_channels_of(network, keep)
    for operator in convolutions(network):
        name, kept = operator.name, stays[operator.inputs[0]]
        kernel = present[f"{name}/kernel"].astype(np.float64)
        if is_depthwise(operator) or len(kept) == kernel.shape[2] or groups(network, operator) > 1:
            continue
        x = inputs[name].astype(np.float64)
        if len(x) <= len(kept):
            continue
        mean = x.mean(axis=0)
        covariance = (x - mean).T @ (x - mean) / len(x)
        left = covariance[np.ix_(kept, kept)]
        taps = kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1)
        fitted = np.linalg.solve(left + ridge_of(left) * np.eye(len(kept)), covariance[kept] @ taps)
        # The mean of the channels that are removed is added to the bias.
        shift = (mean @ taps - mean[kept] @ fitted).reshape(-1, kernel.shape[3]).sum(axis=0)
        whole = np.zeros_like(kernel)
        whole[:, :, kept] = fitted.reshape(len(kept), *kernel.shape[:2], -1).transpose(1, 2, 0, 3)
        changed[f"{name}/kernel"] = whole.astype(np.float32)
        changed[f"{name}/bias"] = (present[f"{name}/bias"] + shift).astype(np.float32)
    return with_weights(network, changed)
