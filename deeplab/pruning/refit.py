"""Least squares after pruning: channels or weights left give, as well as they can, what all of them gave before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.checkpoint import Checkpoint
from deeplab.pruning.groups import kept_inputs
from deeplab.pruning.ranking import Inputs

PIXELS_PER_PICTURE = 256
"""What is sampled of each picture (`Simulator.sample_inputs`): enough for the covariance of a thousand channels."""
RIDGE = 1e-4
"""Of the mean variance of a channel: keeps the fit from trusting directions the pictures hardly show."""


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
        ridge = RIDGE * np.trace(present) / len(kept) + np.finfo(np.float64).tiny
        fitted = np.linalg.solve(present + ridge * np.eye(len(kept)), covariance[kept] @ kernel[0, 0])
        # The mean of what is lost goes into the bias.
        shift = mean @ kernel[0, 0] - mean[kept] @ fitted
        whole = np.zeros_like(kernel)
        whole[0, 0, kept] = fitted
        weights[f"{name}/kernel"] = whole.astype(np.float32)
        weights[f"{name}/bias"] = (weights[f"{name}/bias"] + shift).astype(np.float32)
    return Checkpoint(checkpoint.spec, weights, checkpoint.notes)


def mended(checkpoint: Checkpoint, masks: Mapping[str, np.ndarray], inputs: Inputs) -> Checkpoint:
    """The network with its kernels masked, what is left of each output of a 1x1 convolution fitted to what it gave.

    Optimal Brain Surgeon's update (Hassibi & Stork 1993) of all weights of an output at once, for masks that are given.

    Args:
        checkpoint: the whole network.
        masks: by kernel's name, 0 where a weight goes, of the kernel's shape.
        inputs: what each convolution reads.
    """
    weights = dict(checkpoint.weights)
    for name, mask in masks.items():
        layer, kernel = name.removesuffix("/kernel"), weights[name].astype(np.float64)
        fitted = kernel * mask
        if kernel.shape[:2] == (1, 1):
            x = inputs[layer].astype(np.float64)
            mean = x.mean(axis=0)
            covariance = (x - mean).T @ (x - mean) / len(x)
            covariance += (RIDGE * np.trace(covariance) / len(mean) + np.finfo(np.float64).tiny) * np.eye(len(mean))
            wanted = covariance @ kernel[0, 0]
            for output in range(kernel.shape[3]):
                left = np.flatnonzero(mask[0, 0, :, output])
                fitted[0, 0, left, output] = np.linalg.solve(covariance[np.ix_(left, left)], wanted[left, output])
            bias = weights[f"{layer}/bias"] + mean @ (kernel - fitted)[0, 0]
            weights[f"{layer}/bias"] = bias.astype(np.float32)
        weights[name] = fitted.astype(np.float32)
    return Checkpoint(checkpoint.spec, weights, checkpoint.notes)
