"""The space that is searched: a finite, ordered grid of levels, and the candidates that are its points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deeplab.compression import FLOAT_BITS, Compression


@dataclass(frozen=True)
class Candidate:
    """One setting to measure: how the network is compressed, and in how many tiles at most it is computed."""

    compression: Compression = field(default_factory=Compression)
    tile_count: int = 1

    def __post_init__(self) -> None:
        if self.tile_count < 1:
            raise ValueError(f"tile_count must be at least 1, got {self.tile_count}")

    def as_params(self) -> dict[str, str | float | int]:
        """The searched values by name, as they stand in Optuna, MLflow and the record."""
        return {
            "pruning": self.compression.pruning,
            "sparsity": self.compression.sparsity,
            "weight_bits": self.compression.weight_bits,
            "activation_bits": self.compression.activation_bits,
            "tile_count": self.tile_count,
        }

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Candidate:
        """Inverse of `as_params`."""
        values = dict(params)
        tile_count = values.pop("tile_count")
        return cls(Compression(**values), tile_count)

    @property
    def canonical(self) -> Candidate:
        """The one name of a setting that has several: removing nothing by either method is the same network."""
        if self.compression.sparsity == 0.0 and self.compression.pruning != "channels":
            return Candidate(replace(self.compression, pruning="channels"), self.tile_count)
        return self

    def __str__(self) -> str:
        compression = self.compression
        pruned = f"{compression.pruning} {100 * compression.sparsity:.3g} %" if compression.sparsity else "unpruned"
        bits = "float" if compression.is_float else f"w{compression.weight_bits} a{compression.activation_bits}"
        return f"{pruned}, {bits}, {self.tile_count} {'tile' if self.tile_count == 1 else 'tiles'}"


BASELINE = Candidate()
"""The uncompressed float network in one tile: trial 0 of every study."""


@dataclass(frozen=True)
class Space:
    """The levels of each dimension, in ascending order; `SpaceConfig` has checked them.

    A float network has 32-bit weights and activations together, so the level 32 of the weights needs no level of the
    activations: `weight_bits` decides, and `activation_bits` is then 32.
    """

    pruning: tuple[str, ...]
    sparsity: tuple[float, ...]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    tile_count: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("sparsity", "weight_bits", "activation_bits", "tile_count"):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name))))

    @property
    def integer_activation_bits(self) -> tuple[int, ...]:
        return tuple(bits for bits in self.activation_bits if bits != FLOAT_BITS)

    def candidate(
        self, pruning: str, sparsity: float, weight_bits: int, activation_bits: int, tile_count: int
    ) -> Candidate:
        """The candidate at these levels, in its canonical form."""
        if weight_bits == FLOAT_BITS:
            activation_bits = FLOAT_BITS
        return Candidate(Compression(pruning, sparsity, weight_bits, activation_bits), tile_count).canonical

    def candidates(self) -> tuple[Candidate, ...]:
        """Every distinct candidate, in a fixed order (lexicographic in the levels)."""
        levels = itertools.product(
            self.pruning,
            self.sparsity,
            self.weight_bits,
            self.integer_activation_bits or (FLOAT_BITS,),
            self.tile_count,
        )
        return tuple(dict.fromkeys(self.candidate(*level) for level in levels))

    def smallest(self) -> Candidate:
        """The corner that should need least memory: narrowest, fewest bits, most tiles."""
        pruning = "channels" if "channels" in self.pruning else self.pruning[0]
        activation_bits = (self.integer_activation_bits or (FLOAT_BITS,))[0]
        return self.candidate(pruning, self.sparsity[-1], self.weight_bits[0], activation_bits, self.tile_count[-1])

    def levels(self) -> dict[str, tuple[Any, ...]]:
        """The searched dimensions by name: what a sampler indexes into. A dimension of one level is still listed."""
        return {
            "pruning": self.pruning,
            "sparsity": self.sparsity,
            "weight_bits": self.weight_bits,
            "activation_bits": self.integer_activation_bits or (FLOAT_BITS,),
            "tile_count": self.tile_count,
        }
