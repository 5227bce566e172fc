"""The keys for compression: the levels to search, and the settings of pruning, fine-tuning and quantization."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from deeplab.compression import (
    ACTIVATION_BITS,
    FLOAT_BITS,
    STAGE_BITS,
    WEIGHT_BITS,
    PruningMethod,
    backbone_field,
)
from deeplab.pruning.criteria import Criterion
from sweeps.config.space import Space

STAGE_WEIGHT_BITS = tuple(bits for bits in WEIGHT_BITS if bits != FLOAT_BITS)
STAGE_ACTIVATION_BITS = tuple(bits for bits in ACTIVATION_BITS if bits < 16)
"""Levels of a single stage. Float and 16-bit activations apply to the whole network only."""
MOST_STEPS = 10_000_000
"""Upper bound of counts (training steps, trials, images); a larger number is a typing error."""
MOST_PIXELS = 16_384
"""Upper bound of heights, widths and dilation rates, in pixels."""
MOST_WORKERS = 1024
MOST_MB = 1e9
Tiles = Annotated[int, Field(ge=1, le=MOST_PIXELS)]
Side = Annotated[int, Field(ge=16, le=MOST_PIXELS)]


class StrictModel(BaseModel):
    """Unknown keys are errors, types are not coerced, values do not change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # the input may be an address with a secret
    )


def _levels(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if values is None:
        return None
    if not values:
        raise ValueError("empty search range; give at least one level, e.g. the one to hold fixed")
    if len(set(values)) != len(values):
        raise ValueError(f"has a level twice: {list(values)}")
    return values


class SpaceConfig(StrictModel):
    """The levels of each searched dimension. One level holds a dimension fixed."""

    pruning: tuple[PruningMethod, ...] = ("channels",)
    """`channels` narrows the network and lowers the arena; `magnitude` zeroes weights and lowers their storage only, as
    does `2:4` (two of any four weights of an output), whatever the level of `sparsity` above 0."""
    sparsity: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = (0.0, 0.125, 0.25, 0.375, 0.5)
    """Removed share, in [0, 1). `channels`: share of memory or of channels, as `channels.allotment` says. `magnitude`:
    share of the weights of all 1x1 convolutions, most from the largest ones."""
    weight_bits: tuple[int, ...] = (4, 5, 6, 8, 32)
    """Bits per weight. 32 = float32; then the activations are float too."""
    activation_bits: tuple[int, ...] = (8, 16, 32)
    """Bits per activation value. 32 only together with a 32 in weight_bits."""
    aspp_weight_bits: tuple[int, ...] | None = None
    """Bits per weight of the ASPP, as a dimension of its own: 2 to 16. null, here and below: as the rest of the
    network. A candidate with float weights is float throughout."""
    decoder_weight_bits: tuple[int, ...] | None = None
    """Bits per weight of the decoder, the last layer included: 2 to 16. DeepLab v3 has no decoder."""
    aspp_activation_bits: tuple[int, ...] | None = None
    """Bits per activation value of the ASPP, as a dimension of its own: 4, 6, 8. Tensors that two stages share take the
    larger bit-width. A candidate with 16-bit activations has them throughout."""
    decoder_activation_bits: tuple[int, ...] | None = None
    """Bits per activation value of the decoder: 4, 6, 8. DeepLab v3 has no decoder."""
    tile_count: tuple[Tiles, ...] = (1, 2, 4, 8)
    """Upper bound on the spatial tiles each section of the network is computed in."""

    _not_empty = field_validator("pruning", "sparsity", "weight_bits", "activation_bits", "tile_count", *STAGE_BITS)(
        _levels
    )

    @field_validator("weight_bits")
    @classmethod
    def _weight_bits(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        return _among(levels, WEIGHT_BITS)

    @field_validator("activation_bits")
    @classmethod
    def _activation_bits(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        return _among(levels, ACTIVATION_BITS)

    @field_validator(*STAGE_BITS)
    @classmethod
    def _stage_bits(cls, levels: tuple[int, ...] | None, info: ValidationInfo) -> tuple[int, ...] | None:
        assert info.field_name is not None, "a validator of fields knows its field"
        of_weights = backbone_field(info.field_name) == "weight_bits"
        return levels and _among(levels, STAGE_WEIGHT_BITS if of_weights else STAGE_ACTIVATION_BITS)

    @model_validator(mode="after")
    def _float_together(self) -> SpaceConfig:
        if (FLOAT_BITS in self.weight_bits) != (FLOAT_BITS in self.activation_bits):
            raise ValueError("weight_bits and activation_bits must both have the level 32 (float), or neither")
        if (set(self.weight_bits) == {FLOAT_BITS}) != (set(self.activation_bits) == {FLOAT_BITS}):
            raise ValueError("weight_bits and activation_bits must both have a level below 32, or neither")
        for name in STAGE_BITS:
            backbone = backbone_field(name)
            whole = {FLOAT_BITS, 16} if backbone == "activation_bits" else {FLOAT_BITS}
            if getattr(self, name) is not None and set(getattr(self, backbone)) <= whole:
                raise ValueError(f"{name} needs a level below {min(whole)} in {backbone}; add one, or remove {name}")
        return self

    @property
    def prunes_channels(self) -> bool:
        """Whether any candidate is pruned by channels."""
        return "channels" in self.pruning and max(self.sparsity) > 0.0

    def space(self) -> Space:
        return Space(**{name: getattr(self, name) for name in type(self).model_fields})


def _among(levels: tuple[int, ...], allowed: tuple[int, ...]) -> tuple[int, ...]:
    for level in levels:
        if level not in allowed:
            raise ValueError(f"{level} is not a level; choose from {', '.join(map(str, allowed))}")
    return levels


class ChannelsConfig(StrictModel):
    """Channel pruning. The channels to remove follow from the network and the calibration images (without labels),
    before any training."""

    allotment: Literal["memory", "uniform"] = "memory"
    """Channel budget. `memory`: sparsity is the share of a reference plan's peak memory to save, taken from the groups
    of channels where that costs least accuracy. `uniform`: sparsity is the share of channels removed from every
    group."""
    criterion: Criterion = "repair"
    """repair: increase of the loss after the remaining weights are re-fitted by least squares; fisher: increase of the
    loss without re-fitting; l1: L1 norm of the weights, which compares channels of one group only and so needs
    `uniform`."""
    tile_count: Tiles = 1
    """Tile count of the reference plan, for `memory`."""
    bits: Literal[4, 6, 8, 16, 32] = 8
    """Bits of the reference plan's weights and activations, for `memory`. 32 = float."""

    @model_validator(mode="after")
    def _comparable(self) -> ChannelsConfig:
        if self.allotment == "memory" and self.criterion == "l1":
            raise ValueError(
                "criterion l1 compares channels of one group only, and allotment memory compares groups; choose repair "
                "or fisher, or allotment uniform"
            )
        return self


class FineTuneConfig(StrictModel):
    """Training after pruning."""

    steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 60
    """Optimizer steps; 0 = no fine-tuning."""
    batch: Annotated[int, Field(ge=1, le=4096)] = 8
    """Images per step."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-4
    loss: Literal["labels", "distill"] = "labels"
    """`labels`: cross-entropy on `data.train`; `distill`: the baseline's outputs on the calibration images, without
    labels."""
    crop: Annotated[int, Field(ge=16, le=MOST_PIXELS)] | None = None
    """Side of a square random crop, in pixels. null = the network's input size."""


class QuantizationConfig(StrictModel):
    """Quantization of float networks. The bit-widths are in `space`."""

    clipping: Literal["mse", "percentile", "range"] = "mse"
    """Limits of an activation's range: of least squared error, at `percentile`, or the observed extremes."""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    """Per cent of the values within each limit, for `clipping: percentile`."""
    equalize: bool = False
    """Cross-layer equalization before quantization."""
    edge_weight_bits: int | None = None
    """Bits per weight of the first and last layers. null = as the candidate."""
    depthwise_weight_bits: int | None = None
    """Bits per weight of the depthwise convolutions, a few per cent of all weights and the most sensitive below 8. null
    = as the candidate."""
    rounding: Literal["nearest", "learned"] = "nearest"
    """`learned`: AdaRound for weights of fewer than 8 bits; minutes per candidate for large networks."""
    rounding_steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 500
    """Steps per layer, for `rounding: learned`."""
    aware_steps: Annotated[int, Field(ge=0, le=MOST_STEPS)] = 0
    """Steps of quantization-aware training after rounding, with batches, crops and loss of `finetune`; 0 = none."""
    aware_learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-2
    """Peak rate of Adam for weights, in units of their scales; biases and scales learn more slowly."""

    @field_validator("edge_weight_bits", "depthwise_weight_bits")
    @classmethod
    def _held_weight_bits(cls, bits: int | None) -> int | None:
        if bits is not None:
            _among((bits,), STAGE_WEIGHT_BITS)
        return bits
