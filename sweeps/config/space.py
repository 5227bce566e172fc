"""The search space: a finite, ordered grid of levels, and the candidates that are its points."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from deeplab.compression import FLOAT_BITS, STAGE_BITS, Compression, PruningMethod, backbone_field


@dataclass(frozen=True)
class Candidate:
    """One setting to measure: the compression of the network, and an upper bound of its tiles."""

    compression: Compression = field(default_factory=Compression)
    tile_count: int = 1

    def __post_init__(self) -> None:
        if self.tile_count < 1:
            raise ValueError(f"tile_count must be at least 1, got {self.tile_count}")

    def as_params(self) -> dict[str, str | float | int]:
        """The searched values by their names in Optuna, MLflow and the record, without stages that follow the
        backbone."""
        return {
            "pruning": self.compression.pruning,
            "sparsity": self.compression.sparsity,
            "weight_bits": self.compression.weight_bits,
            "activation_bits": self.compression.activation_bits,
            **{name: bits for name in STAGE_BITS if (bits := getattr(self.compression, name)) is not None},
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
        """The canonical form among equal settings: sparsity 0 is the same network for every method, and a stage with
        the backbone's bits equals one without bits of its own."""
        compression = self.compression
        followed = [name for name in STAGE_BITS if self.bits_of(name) == self.bits_of(backbone_field(name))]
        changes: dict[str, Any] = {name: None for name in followed if getattr(compression, name) is not None}
        if compression.sparsity == 0.0 and compression.pruning != "channels":
            changes["pruning"] = "channels"
        return Candidate(replace(compression, **changes), self.tile_count) if changes else self

    def bits_of(self, name: str) -> int:
        """Bits by the name of their dimension; a stage without bits of its own has the backbone's."""
        own: int | None = getattr(self.compression, name)
        if own is not None:
            return own
        followed: int = getattr(self.compression, backbone_field(name))
        return followed

    def __str__(self) -> str:
        compression = self.compression
        pruned = f"{compression.pruning} {100 * compression.sparsity:.3g} %" if compression.sparsity else "unpruned"
        pruned = "2:4" if compression.pruning == "2:4" and compression.sparsity else pruned
        bits = "float" if compression.is_float else f"w{compression.weight_bits} a{compression.activation_bits}"
        own = [_own_bits(word, stage, compression) for word, stage in (("ASPP", "aspp"), ("decoder", "decoder"))]
        tiles = f"{self.tile_count} {'tile' if self.tile_count == 1 else 'tiles'}"
        return ", ".join([pruned, bits, *filter(None, own), tiles])


def _own_bits(word: str, stage: str, compression: Compression) -> str | None:
    """Text such as "ASPP w6 a4" for a stage with bits of its own."""
    weights, activations = (getattr(compression, f"{stage}_{what}_bits") for what in ("weight", "activation"))
    said = [f"w{weights}" if weights is not None else "", f"a{activations}" if activations is not None else ""]
    return " ".join([word, *filter(None, said)]) if any(said) else None


BASELINE = Candidate()
"""The uncompressed float network in one tile: trial 0 of every study."""


@dataclass(frozen=True)
class Space:
    """The levels of each dimension, in ascending order; `SpaceConfig` has checked them.

    A float network has 32-bit weights and activations together, so the level 32 of the weights needs no level of the
    activations: `weight_bits` decides, and `activation_bits` is then 32. In a float network all stages follow the
    backbone, and with 16-bit activations their activations do.
    """

    pruning: tuple[PruningMethod, ...]
    sparsity: tuple[float, ...]
    weight_bits: tuple[int, ...]
    activation_bits: tuple[int, ...]
    tile_count: tuple[int, ...]
    aspp_weight_bits: tuple[int, ...] | None = None
    """None, here and below: the stage follows the backbone and is not a dimension."""
    decoder_weight_bits: tuple[int, ...] | None = None
    aspp_activation_bits: tuple[int, ...] | None = None
    decoder_activation_bits: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("sparsity", "weight_bits", "activation_bits", "tile_count", *self.stage_levels):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name))))

    @property
    def stage_levels(self) -> dict[str, tuple[int, ...]]:
        """Levels of the stages that are dimensions of their own, by name."""
        return {name: levels for name in STAGE_BITS if (levels := getattr(self, name)) is not None}

    @property
    def integer_activation_bits(self) -> tuple[int, ...]:
        return tuple(bits for bits in self.activation_bits if bits != FLOAT_BITS)

    def candidate(
        self,
        pruning: PruningMethod,
        sparsity: float,
        weight_bits: int,
        activation_bits: int,
        tile_count: int,
        **stages: int,
    ) -> Candidate:
        """The candidate at these levels, in its canonical form. `stages`: a level for each of `stage_levels`."""
        if weight_bits == FLOAT_BITS:
            activation_bits, stages = FLOAT_BITS, {}
        if activation_bits == 16:
            stages = {name: bits for name, bits in stages.items() if backbone_field(name) != "activation_bits"}
        if pruning == "2:4" and sparsity:
            sparsity = 0.5
        return Candidate(Compression(pruning, sparsity, weight_bits, activation_bits, **stages), tile_count).canonical

    def candidates(self) -> tuple[Candidate, ...]:
        """Every distinct candidate, in a fixed order (lexicographic in the levels)."""
        levels = self.levels()
        points = (dict(zip(levels, point, strict=True)) for point in itertools.product(*levels.values()))
        return tuple(dict.fromkeys(self.candidate(**point) for point in points))

    def smallest(self) -> Candidate:
        """The candidate that should need least memory: highest sparsity, fewest bits, most tiles."""
        pruning: PruningMethod = "channels" if "channels" in self.pruning else self.pruning[0]
        activation_bits = (self.integer_activation_bits or (FLOAT_BITS,))[0]
        stages = {name: levels[0] for name, levels in self.stage_levels.items()}
        return self.candidate(
            pruning, self.sparsity[-1], self.weight_bits[0], activation_bits, self.tile_count[-1], **stages
        )

    def levels(self) -> dict[str, tuple[Any, ...]]:
        """The levels of every dimension by name, dimensions of one level included; samplers use their indices."""
        return {
            "pruning": self.pruning,
            "sparsity": self.sparsity,
            "weight_bits": self.weight_bits,
            "activation_bits": self.integer_activation_bits or (FLOAT_BITS,),
            **self.stage_levels,
            "tile_count": self.tile_count,
        }
