"""Pruning of single weights of a trained network, with the weights left fitted to compensate.

The Optimal Brain Surgeon (Hassibi & Stork 1993), a layer at a time (Frantar & Alistarh 2022, "Optimal Brain
Compression"): with C the covariance of a 1x1 convolution's inputs, removing weight w_i of an output and fitting that
output's others costs w_i^2 / (C^-1)_ii of squared error, times half the output's Fisher information nats a pixel. The
cheapest are removed, in passes, and prices are computed anew between them. Layers are taken in network order: each is
fitted to the outputs of the whole network, on the outputs of the pruned layers before it, so errors do not add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.linalg import lapack, solve

from deeplab.inference import sample_inputs
from deeplab.network import weights, with_weights
from deeplab.pruning.magnitude import largest
from deeplab.pruning.ranking import Inputs
from deeplab.pruning.refit import PIXELS_PER_IMAGE, ridge_of
from deeplab.sparsity import WeightSparsity
from evaluation.graph import Graph

PASSES = 4
"""Passes that prune one layer, each the same share of the weights that are left."""


def prune_weights(
    network: Graph,
    sparsity: WeightSparsity,
    frames: np.ndarray,
    inputs: Inputs,
    fisher: Mapping[str, np.ndarray],
) -> Graph:
    """Set the weights to 0 that the network misses least once the others are fitted; those that are 0 stay 0.

    Args:
        network: in float, trained.
        sparsity: the share of each kernel that becomes 0, and its pattern.
        frames: uint8 (N, height, width, 3) at the network's size; no labels needed.
        inputs: inputs of the network's convolutions on them (`deeplab.inference.sample_inputs`, `PIXELS_PER_IMAGE`).
        fisher: Fisher information of each convolution's outputs (`deeplab.pruning.importance.output_fisher`).
    """
    trained, pruned = weights(network), network
    for name, density in sparsity.densities(network).items():
        layer, kernel = name.removesuffix("/kernel"), trained[name][0, 0].astype(np.float64)
        given = sample_inputs(pruned, frames, PIXELS_PER_IMAGE, (layer,))[layer].astype(np.float64)
        wanted = inputs[layer].astype(np.float64) @ kernel
        fit = LayerFit(given, wanted, kernel)
        passes = PASSES if sparsity.pattern == "magnitude" and density < 1.0 else 1
        for number in range(1, passes + 1):
            worth = np.sqrt(fit.costs() * np.diagonal(fisher[layer]))
            fit.keep(largest(worth[None, None], density ** (number / passes), sparsity.pattern)[0, 0] > 0.0)
        fitted = fit.kernel()
        changed = {
            name: fitted[None, None].astype(np.float32),
            f"{layer}/bias": (trained[f"{layer}/bias"] + fit.shift(fitted)).astype(np.float32),
        }
        pruned = with_weights(pruned, changed)
    return pruned


class LayerFit:
    """A 1x1 convolution with some of its weights, fitted by least squares to outputs.

    Args:
        given: float64 (samples, in), its inputs.
        wanted: float64 (samples, out), the outputs to fit, without bias.
        kernel: float64 (in, out), which the ridge draws towards; a weight that is 0 is none.
    """

    def __init__(self, given: np.ndarray, wanted: np.ndarray, kernel: np.ndarray) -> None:
        self._means = given.mean(axis=0), wanted.mean(axis=0)
        centred = given - self._means[0]
        covariance = centred.T @ centred / len(given)
        ridge = ridge_of(covariance)
        self._covariance = covariance + ridge * np.eye(len(covariance))
        self._aim = centred.T @ (wanted - self._means[1]) / len(given) + ridge * kernel
        self._left = kernel != 0.0

    def _alike(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(inputs left, the outputs that have just these inputs left): such outputs are solved together."""
        outputs: dict[bytes, list[int]] = {}
        for output, left in enumerate(self._left.T):
            outputs.setdefault(left.tobytes(), []).append(output)
        for alike in outputs.values():
            if self._left[:, alike[0]].any():
                yield np.flatnonzero(self._left[:, alike[0]]), np.array(alike)

    def costs(self) -> np.ndarray:
        """For each weight, the rise of its output's squared error without it: float64 (in, out)."""
        costs = np.zeros_like(self._aim)
        for left, alike in self._alike():
            factor, _ = lapack.dpotrf(self._covariance[np.ix_(left, left)], lower=True)
            lower, _ = lapack.dpotri(factor, lower=True)
            inverse = np.tril(lower) + np.tril(lower, -1).T
            weights = inverse @ self._aim[np.ix_(left, alike)]
            costs[np.ix_(left, alike)] = np.square(weights) / np.diagonal(inverse)[:, None]
        return costs

    def keep(self, mask: np.ndarray) -> None:
        """Remove the weights that are not in a mask, bool (in, out)."""
        self._left = self._left & mask

    def kernel(self) -> np.ndarray:
        """The best weights: float64 (in, out)."""
        kernel = np.zeros_like(self._aim)
        for left, alike in self._alike():
            covariance, aim = self._covariance[np.ix_(left, left)], self._aim[np.ix_(left, alike)]
            kernel[np.ix_(left, alike)] = solve(covariance, aim, assume_a="pos")
        return kernel

    def shift(self, kernel: np.ndarray) -> np.ndarray:
        """The change of the bias for a kernel, float64 (out,), that makes the mean output the wanted one."""
        return self._means[1] - self._means[0] @ kernel
