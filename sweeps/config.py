"""The keys of a sweep's YAML file: their types, units, defaults and limits.

Loading a file, with messages that name its lines, is `sweeps.config_file`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from deeplab.compression import (
    ACTIVATION_BITS,
    FLOAT_BITS,
    STAGE_BITS,
    WEIGHT_BITS,
    PruningMethod,
    backbone_field,
)
from deeplab.importing import Unstated, kind_of
from deeplab.pruning.criteria import Criterion
from evaluation.errors import UserError
from sweeps.space import Space

STAGE_WEIGHT_BITS = tuple(bits for bits in WEIGHT_BITS if bits != FLOAT_BITS)
STAGE_ACTIVATION_BITS = tuple(bits for bits in ACTIVATION_BITS if bits < 16)
"""Of one stage alone: float is all of a network or nothing, and so are activations of 16 bits."""
DataSetName = Literal["streets", "camvid", "cityscapes", "voc", "ade20k", "folder"]
SamplerName = Literal["tpe", "nsga2", "qmc", "random"]
SPLIT_PATTERN = re.compile(r"^(?P<name>\w+)(\[(?P<start>\d*):(?P<stop>\d*)\])?$")


class Section(BaseModel):
    """Unknown keys are errors, types are not coerced, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def parse_split(text: str) -> tuple[str, slice]:
    """`"val"` -> ("val", all); `"val[:27]"`, `"val[27:]"`, `"val[10:20]"` -> that part, in the data set's order."""
    match = SPLIT_PATTERN.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a split; write it as name, name[:n], name[n:] or name[m:n]")
    start, stop = match["start"], match["stop"]
    return match["name"], slice(int(start) if start else None, int(stop) if stop else None)


def _checked_split(text: str) -> str:
    parse_split(text)
    return text


Split = Annotated[str, AfterValidator(_checked_split)]


class CalibrationConfig(Section):
    """Pictures that set the activation ranges and that `distill` learns from. Their labels are never looked at."""

    name: DataSetName
    path: Path | None = None
    """Folder of the data set. Relative to the YAML file."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the data set itself, as for `data.options`."""
    split: Split = "train"
    pictures: Annotated[int, Field(ge=1)] = 64
    """How many, from the beginning of the split."""


class DataConfig(Section):
    """Three disjoint uses of pictures: training and calibration, search, held-out."""

    name: DataSetName
    path: Path | None = None
    """Folder of the data set; `streets` draws its own pictures and needs none. Relative to the YAML file."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the data set itself, e.g. {seed: 7} for `streets` or {void: 255} for `folder`."""
    search: Split = "val"
    """Split the candidates are scored on: a name, or part of one such as val[:27]."""
    heldout: Split = "test"
    """Split the final front is scored on, once. Must not overlap `search`."""
    train: Split | None = "train"
    """Labelled split for fine-tuning with `loss: labels`. null where there is none."""
    calibration: CalibrationConfig | None = None
    """null: the pictures of `train`."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if self.name != "streets" and self.path is None:
            raise ValueError(f"the data set {self.name!r} needs a folder; add path")
        if _overlap(parse_split(self.search), parse_split(self.heldout)):
            raise ValueError(
                f"search {self.search!r} and heldout {self.heldout!r} share pictures; they must be disjoint"
            )
        if self.train is not None:
            for use in (self.search, self.heldout):
                if _overlap(parse_split(self.train), parse_split(use)):
                    raise ValueError(f"train {self.train!r} shares pictures with {use!r}; they must be disjoint")
        return self


def _overlap(one: tuple[str, slice], other: tuple[str, slice]) -> bool:
    if one[0] != other[0]:
        return False
    start = max(one[1].start or 0, other[1].start or 0)
    stops = [part.stop for _, part in (one, other) if part.stop is not None]
    return not stops or start < min(stops)


class NetworkConfig(Section):
    """Where the trained network comes from."""

    source: str = "streets"
    """`streets` (shipped with the package), or the path of a whole network, relative to the YAML file: a checkpoint
    (.npz), a TFLite file (.tflite), or of `tensorflow/models`' DeepLab a frozen graph (.pb) or a checkpoint
    (model.ckpt)."""
    input_size: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] | None = None
    """Height, width, of a TensorFlow checkpoint (null: 513 x 513), or of a frozen graph for pictures of any size."""
    output_stride: Literal[8, 16] | None = None
    """Of a TensorFlow checkpoint: strides past it become dilations. null: 16."""
    atrous_rates: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """Of a TensorFlow checkpoint with atrous branches. null: [6, 12, 18], twice that at output stride 8."""
    resize: Literal["legacy", "align_corners", "half_pixel"] | None = None
    """Of a TensorFlow checkpoint: how it resizes. null: align_corners, as `tensorflow/models` does."""

    @model_validator(mode="after")
    def _known(self) -> NetworkConfig:
        try:
            kind = "petitlab" if self.source == "streets" else kind_of(Path(self.source))
        except UserError as error:
            raise ValueError(f"source must be 'streets' or the path of a network file; {error}") from None
        if kind == "keras":
            raise ValueError(
                f"source {self.source} is a backbone; train a network from it with python -m deeplab.train"
            )
        stated = [name for name, value in self if name != "source" and value is not None]
        allowed = {"checkpoint": stated, "frozen graph": ["input_size"]}.get(kind, [])
        for name in stated:
            if name not in allowed:
                raise ValueError(f"source {self.source} says its {name} itself; remove {name}")
        return self

    def unstated(self) -> Unstated:
        """What a TensorFlow checkpoint does not say of its network."""
        return Unstated(**{name: value for name, value in self if name != "source" and value is not None})


def _levels(values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    if values is None:
        return None
    if not values:
        raise ValueError("empty search range; give at least one level, e.g. the one to hold fixed")
    if len(set(values)) != len(values):
        raise ValueError(f"has a level twice: {list(values)}")
    return values


class SpaceConfig(Section):
    """The levels of each searched dimension. One level holds a dimension fixed."""

    pruning: tuple[PruningMethod, ...] = ("channels",)
    """`channels` narrows the network and lowers the arena; `magnitude` zeroes weights and lowers their storage only, as
    does `2:4` (two of any four weights of an output), whatever the level of `sparsity` above 0."""
    sparsity: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = (0.0, 0.125, 0.25, 0.375, 0.5)
    """Share removed, in [0, 1). `channels`: of memory or of channels, as `channels.allotment` says. `magnitude`: of
    each convolution's weights."""
    weight_bits: tuple[int, ...] = (4, 5, 6, 8, 32)
    """Bits a weight. 32 = float32; then the activations are float too."""
    activation_bits: tuple[int, ...] = (8, 16, 32)
    """Bits an activation value. 32 only together with a 32 in weight_bits."""
    aspp_weight_bits: tuple[int, ...] | None = None
    """Bits a weight of the ASPP, searched apart: 2 to 16. null, here and below: those of the rest of the network. A
    candidate with float weights is float throughout."""
    decoder_weight_bits: tuple[int, ...] | None = None
    """Bits a weight of the decoder, the last layer included: 2 to 16. DeepLab v3 has none."""
    aspp_activation_bits: tuple[int, ...] | None = None
    """Bits an activation value of the ASPP, searched apart: 4, 6, 8. Values that two stages share have the most bits of
    the two. A candidate with 16-bit activations has them throughout."""
    decoder_activation_bits: tuple[int, ...] | None = None
    """Bits an activation value of the decoder: 4, 6, 8. DeepLab v3 has none."""
    tile_count: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 4, 8)
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

    def space(self) -> Space:
        return Space(**{name: getattr(self, name) for name in type(self).model_fields})


def _among(levels: tuple[int, ...], allowed: tuple[int, ...]) -> tuple[int, ...]:
    for level in levels:
        if level not in allowed:
            raise ValueError(f"{level} is not a level; choose from {', '.join(map(str, allowed))}")
    return levels


class SearchConfig(Section):
    """How the space is searched. The objectives are fixed: mIoU up, peak memory down."""

    trials: Annotated[int, Field(ge=1)] = 28
    """Distinct candidates in all, the baseline included. Repeats are answered from the record and do not count."""
    sampler: SamplerName = "tpe"
    """tpe (multivariate), nsga2, qmc or random."""
    workers: Annotated[int, Field(ge=1)] = 1
    """Processes that evaluate trials side by side, one TensorFlow each."""
    trial_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """A trial that takes longer is ended with its worker, and counts as failed."""


class ChannelsConfig(Section):
    """What pruning channels removes. Known before anything is trained, from the network and the calibration pictures,
    whose labels are never looked at."""

    allotment: Literal["memory", "uniform"] = "memory"
    """`memory`: a sparsity is the share of a reference plan's peak memory that must go, taken from the groups of
    channels where that costs least accuracy. `uniform`: it is the share of channels that every group loses."""
    criterion: Criterion = "repair"
    """repair: rise of the loss after least squares has re-fitted what is left; fisher: rise of the loss without that;
    l1: size of the weights, no gradients; it compares channels of one group only, so `uniform` suits it."""
    tile_count: Annotated[int, Field(ge=1)] = 1
    """Of the reference plan, for `memory`."""
    bits: Literal[4, 6, 8, 16, 32] = 8
    """Of the reference plan's weights and activations, for `memory`. 32 = float."""


class ConstraintsConfig(Section):
    """Limits a candidate must keep to be feasible. null = no limit."""

    peak_memory_mb: Annotated[float, Field(gt=0)] | None = None
    """Most peak memory, in MB (10^6 bytes). Planned first: a candidate above it is pruned before any training."""
    miou_drop: Annotated[float, Field(gt=0)] | None = None
    """Most mIoU that may be lost against the baseline, on the 0..1 scale (0.02 = two points)."""


class FineTuneConfig(Section):
    """Training after pruning."""

    steps: Annotated[int, Field(ge=0)] = 60
    """Optimiser steps; 0 = none."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Pictures a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    loss: Literal["labels", "distill"] = "labels"
    """`labels`: cross-entropy on `data.train`; `distill`: the baseline's outputs on the calibration pictures, whose
    labels are never looked at."""
    crop: Annotated[int, Field(ge=16)] | None = None
    """Side of a square random crop, in pixels. null = the network's input size."""


class QuantizationConfig(Section):
    """How float networks become integers. The bit-widths are `space`'s."""

    clipping: Literal["mse", "percentile", "range"] = "mse"
    """Where an activation's range ends: by the squared error, by `percentile`, or at the extremes that were seen."""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    """Per cent of the values that lie within either end, for `clipping: percentile`."""
    equalize: bool = False
    """Cross-layer equalisation before anything is rounded."""
    edge_weight_bits: int | None = None
    """Bits of the first and the last layer's weights. null = those of the candidate."""
    rounding: Literal["nearest", "learned"] = "nearest"
    """`learned`: AdaRound, wherever a weight has fewer than 8 bits. Minutes a candidate for large networks."""
    rounding_steps: Annotated[int, Field(ge=1)] = 500
    """Steps a layer, for `rounding: learned`."""
    aware_steps: Annotated[int, Field(ge=0)] = 0
    """Steps of quantisation-aware training after that, on batches, crops and loss of `finetune`; 0 = none."""
    aware_learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Peak rate of Adam, in steps of the quantisation grids."""

    @field_validator("edge_weight_bits")
    @classmethod
    def _edge_weight_bits(cls, bits: int | None) -> int | None:
        if bits is not None:
            _among((bits,), STAGE_WEIGHT_BITS)
        return bits


class ImportCheckConfig(Section):
    """What an imported network must score before anything is searched."""

    miou: Annotated[float, Field(ge=0, le=1)]
    """The published figure, on the 0..1 scale."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.005
    split: Split = "all"
    """Pictures the published figure was measured on."""


class ReportConfig(Section):
    overlays: Annotated[int, Field(ge=0, le=8)] = 4
    """Rows of picture / label / baseline / choice, the picture with the lowest score of the choice among them."""


class ChoiceConfig(Section):
    """The rule by which one point of the front is chosen."""

    rule: Literal["knee", "budget", "max_drop"] = "knee"
    """knee: farthest from the line between the front's ends; budget: best mIoU within `budget_mb`; max_drop: least
    memory within `max_drop` of the baseline's mIoU."""
    budget_mb: Annotated[float, Field(gt=0)] | None = None
    """MB (10^6 bytes) of peak memory, for `budget`."""
    max_drop: Annotated[float, Field(ge=0)] | None = None
    """mIoU on the 0..1 scale, for `max_drop`."""

    @model_validator(mode="after")
    def _has_its_number(self) -> ChoiceConfig:
        if self.rule == "budget" and self.budget_mb is None:
            raise ValueError("the rule 'budget' needs budget_mb, the MB of peak memory to stay within")
        if self.rule == "max_drop" and self.max_drop is None:
            raise ValueError("the rule 'max_drop' needs max_drop, the mIoU that may be lost, e.g. 0.02")
        return self


class SweepConfig(Section):
    """One sweep. Every path in it is absolute once the file is loaded."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name of the study, of its folder and of its MLflow experiment: letters, digits, dot, dash, underscore."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the sampler, of fine-tuning and of the bootstrap."""
    out: Path = Path("studies")
    """Folder the study's folder is made in. Relative to where the command is started, beside mlflow.db."""
    network: NetworkConfig = NetworkConfig()
    data: DataConfig
    space: SpaceConfig = SpaceConfig()
    channels: ChannelsConfig = ChannelsConfig()
    search: SearchConfig = SearchConfig()
    constraints: ConstraintsConfig = ConstraintsConfig()
    finetune: FineTuneConfig = FineTuneConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    target: str = "camera"
    """camera (weights in RAM), mcu (weights in flash), or the path of a target's YAML file."""
    max_mac_overhead: Annotated[float, Field(ge=0)] = 0.05
    """Most extra multiply-accumulates that tiling may cost, as a share of the untiled network's."""
    import_check: ImportCheckConfig | None = None
    report: ReportConfig = ReportConfig()
    choice: ChoiceConfig = ChoiceConfig()

    @field_validator("target")
    @classmethod
    def _known_target(cls, target: str) -> str:
        if target not in ("camera", "mcu") and Path(target).suffix not in (".yaml", ".yml"):
            raise ValueError(f"must be camera, mcu or the path of a .yaml file, got {target!r}")
        return target

    @model_validator(mode="after")
    def _pictures_to_learn_from(self) -> SweepConfig:
        if self.data.train is None and self.data.calibration is None:
            raise ValueError("data needs train or calibration: pictures that set the activation ranges")
        trains = self.finetune.steps or self.quantization.aware_steps
        if self.data.train is None and trains and self.finetune.loss == "labels":
            raise ValueError("finetune.loss 'labels' needs data.train; give one, or set finetune.loss to distill")
        return self

    @property
    def folder(self) -> Path:
        """Where everything of this study lies."""
        return self.out / self.study

    def identity(self) -> dict[str, Any]:
        """The flat keys that make this study what it is: those a resumed study may change are left out."""
        return {key: value for key, value in flatten(self.model_dump(mode="json")).items() if not _may_change(key)}


MAY_CHANGE = ("out", "report", "choice", "search.trials", "search.workers", "search.trial_seconds")


def _may_change(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in MAY_CHANGE)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
