"""Densities of kernels whose single weights are pruned: known from shapes, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deeplab.network import convolutions, is_depthwise, weight_shapes, window
from evaluation.graph import Graph
from evaluation.kernels.weights import WORTH_UNPACKING

MOST_SPARSE_DENSITY = WORTH_UNPACKING - 1 / 8
"""Density from which on 8-bit weights are stored dense all the same: a bitmap takes 1 + 8 * density bits a weight."""


def prunable_kernels(network: Graph) -> tuple[str, ...]:
    """Kernels whose weights are pruned: all 1x1 convolutions. The others, depthwise kernels and the stem, have few
    weights, each of which matters much."""
    return tuple(
        f"{operator.name}/kernel"
        for operator in convolutions(network)
        if not is_depthwise(operator) and window(network, operator) == (1, 1)
    )


@dataclass(frozen=True)
class WeightSparsity:
    """Share and pattern of the weights of the prunable kernels that become 0."""

    sparsity: float
    """Share of the weights of all prunable kernels together."""
    pattern: Literal["magnitude", "2:4"] = "magnitude"
    """`magnitude`: wherever they are. `2:4`: two of any four input channels in a row, for each output; `sparsity` is
    0.5 then."""

    def densities(self, network: Graph) -> dict[str, float]:
        """By kernel, the share of weights left.

        `magnitude`: in proportion to (in + out) / (in * out), the density of an Erdős-Rényi graph (Mocanu et al. 2018,
        "Scalable training of artificial neural networks with adaptive sparse connectivity"): large kernels, which hold
        most, lose most. A kernel that would be denser than `MOST_SPARSE_DENSITY` stays whole.
        """
        whole = weight_shapes(network)
        shapes = {name: whole[name][2:] for name in prunable_kernels(network)}
        if self.pattern == "2:4":
            # Of a last group that is not full, two stay too.
            return {name: (2 * (inputs // 4) + min(2, inputs % 4)) / inputs for name, (inputs, _) in shapes.items()}
        if self.sparsity == 0.0:
            return dict.fromkeys(shapes, 1.0)
        sizes = {name: inputs * outputs for name, (inputs, outputs) in shapes.items()}
        links = {name: inputs + outputs for name, (inputs, outputs) in shapes.items()}
        thin = sorted(shapes, key=lambda name: links[name] / sizes[name])  # the densest last
        left = (1.0 - self.sparsity) * sum(sizes.values())
        while True:
            factor = left / sum(links[name] for name in thin)
            if len(thin) == 1 or factor * links[thin[-1]] <= MOST_SPARSE_DENSITY * sizes[thin[-1]]:
                return {name: factor * links[name] / sizes[name] if name in thin else 1.0 for name in shapes}
            left -= sizes[thin.pop()]
