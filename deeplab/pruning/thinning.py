"""What pruning of single weights leaves: known before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Thinning:
    """Which weights of each convolution kernel become 0."""

    sparsity: float
    pattern: Literal["magnitude", "2:4"] = "magnitude"
    """`magnitude`: the smallest, wherever they are. `2:4`: the two smallest of any four input channels in a row, for
    each output and tap; `sparsity` is 0.5 then."""

    def density(self, inputs: int) -> float:
        """Share of weights left in a kernel of so many input channels."""
        if self.pattern == "magnitude":
            return 1.0 - self.sparsity
        return (2 * (inputs // 4) + min(2, inputs % 4)) / inputs  # of a last group that is not full, two stay too
