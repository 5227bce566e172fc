"""`Compression`: the part of a candidate that changes the network itself (the tile count does not)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PruningMethod = Literal["channels", "magnitude"]

WEIGHT_BITS = (2, 3, 4, 5, 6, 8, 16, 32)
"""32 = float32, not quantised."""
ACTIVATION_BITS = (4, 6, 8, 16, 32)
FLOAT_BITS = 32


@dataclass(frozen=True)
class Compression:
    """Pruning and bit-widths of one candidate. The default leaves the network as it is."""

    pruning: PruningMethod = "channels"
    sparsity: float = 0.0
    """Share removed, in [0, 1): of the channels of each prunable group (`channels`), or of the weights of each
    convolution kernel, depthwise ones excepted (`magnitude`)."""
    weight_bits: int = FLOAT_BITS
    activation_bits: int = FLOAT_BITS

    def __post_init__(self) -> None:
        if not 0.0 <= self.sparsity < 1.0:
            raise ValueError(f"sparsity must lie in [0, 1), got {self.sparsity}")
        if self.weight_bits not in WEIGHT_BITS:
            raise ValueError(f"weight_bits must be one of {WEIGHT_BITS}, got {self.weight_bits}")
        if self.activation_bits not in ACTIVATION_BITS:
            raise ValueError(f"activation_bits must be one of {ACTIVATION_BITS}, got {self.activation_bits}")
        if (self.weight_bits == FLOAT_BITS) != (self.activation_bits == FLOAT_BITS):
            raise ValueError("weight_bits and activation_bits are both 32 (float) or neither is")

    @property
    def is_float(self) -> bool:
        return self.weight_bits == FLOAT_BITS
