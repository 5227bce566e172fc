"""What pruning of single weights leaves: known from shapes, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deeplab.layers import layers, weight_shapes
from deeplab.spec import NetworkSpec


def prunable_kernels(spec: NetworkSpec) -> tuple[str, ...]:
    """Kernels whose weights are pruned: all 1x1 convolutions. What else there is, depthwise kernels and the stem, is
    few weights, each of which does much."""
    return tuple(f"{layer.name}/kernel" for layer in layers(spec) if layer.kind == "conv" and layer.kernel == 1)


@dataclass(frozen=True)
class Thinning:
    """Which weights of the prunable kernels become 0."""

    sparsity: float
    """Of all prunable kernels together."""
    pattern: Literal["magnitude", "2:4"] = "magnitude"
    """`magnitude`: wherever they are. `2:4`: two of any four input channels in a row, for each output; `sparsity` is
    0.5 then."""

    def densities(self, spec: NetworkSpec) -> dict[str, float]:
        """By kernel, the share of weights left.

        `magnitude`: in proportion to (in + out) / (in * out), the density of an Erdős-Rényi graph, and 1 at most
        (Mocanu et al. 2018, "Scalable training of artificial neural networks with adaptive sparse connectivity"). Large
        kernels lose most, and hold most; small ones, which storage hardly notices, stay whole.
        """
        shapes = {name: weight_shapes(spec)[name][2:] for name in prunable_kernels(spec)}
        if self.pattern == "2:4":
            # Of a last group that is not full, two stay too.
            return {name: (2 * (inputs // 4) + min(2, inputs % 4)) / inputs for name, (inputs, _) in shapes.items()}
        sizes = {name: inputs * outputs for name, (inputs, outputs) in shapes.items()}
        links = {name: inputs + outputs for name, (inputs, outputs) in shapes.items()}
        whole: set[str] = set()
        while True:
            thin = [name for name in shapes if name not in whole]
            left = (1.0 - self.sparsity) * sum(sizes.values()) - sum(sizes[name] for name in whole)
            factor = left / max(1, sum(links[name] for name in thin))
            over = {name for name in thin if factor * links[name] >= sizes[name]}
            if not over:
                return {name: 1.0 if name in whole else factor * links[name] / sizes[name] for name in shapes}
            whole |= over
