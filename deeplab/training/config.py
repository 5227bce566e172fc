"""The YAML of a training, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deeplab.datasets.interface import nearest
from deeplab.importing import kind_of
from evaluation.errors import UserError
from evaluation.former_keys import OF_STREETS, rename_former_keys, say_renamed
from evaluation.yaml_file import read_yaml

Size = tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]]
"""Height, width in pixels."""
Width = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TrainingDataConfig(_Section):
    name: str
    """A data set of `deeplab.datasets`."""
    path: Path | None = None
    options: dict[str, Any] = {}
    """Options of that data set, such as `classes` of ade20k."""
    train: str = "train"
    """Split to learn from."""
    val: str = "val"
    """Split whose mIoU chooses the best checkpoint."""
    score: tuple[str, ...] = ()
    """Splits on which the best checkpoint is scored once, at the end."""


class TrainingNetworkConfig(_Section):
    start: Path | None = None
    """Network to start from. A whole one fixes the network, but for `input_size`, classes and `output_stride` (its own
    if not given; strides past another one become dilations): a checkpoint (.npz), a .tflite, a frozen graph (.pb), or a
    TensorFlow checkpoint of `tensorflow/models`' DeepLab, next to which `output_stride`, `atrous_rates` and `resize`
    (align_corners if not given) say what it does not. A backbone fixes its widths alone, and the keys below say what
    the new head is like: a Keras MobileNetV2 (.h5, .keras) or a TensorFlow checkpoint without a head."""
    input_size: Size
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    output_stride: Literal[8, 16] = 16
    aspp_width: Width = 256
    atrous_rates: tuple[Width, ...] = ()
    image_pooling: bool = True
    decoder: bool = True
    skip_tap: Literal["expand", "depthwise", "project"] = "depthwise"
    skip_width: Width = 48
    decoder_width: Width = 256
    resize: Literal["legacy", "align_corners", "half_pixel"] = "legacy"

    @model_validator(mode="after")
    def _start_fixes_the_network(self) -> TrainingNetworkConfig:
        if self.start is None:
            return self
        try:
            kind = kind_of(self.start)
        except UserError as error:
            raise ValueError(f"start: {error}") from None
        other = sorted(self.model_fields_set - {"start", "input_size", "output_stride"})
        if kind in ("keras", "checkpoint"):
            other = ["width_multiplier"] if "width_multiplier" in other else []
        if other:
            raise ValueError(f"start fixes the network; remove {other[0]}")
        return self


class OptimiserConfig(_Section):
    steps: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 16
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    """Peak rate of Adam."""
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    """Steps over which the rate rises from 0, linearly."""
    decay: Literal["poly", "cosine"] = "cosine"
    """`poly`: (1 - progress) ** 0.9, as DeepLab is trained."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Decoupled (Loshchilov & Hutter 2019), on kernels only."""
    class_weights: Literal["none", "median_frequency", "sqrt_median_frequency"] = "none"
    """Weight of a class in the loss: median frequency / frequency (Eigen & Fergus 2015), or its square root."""
    jaccard_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of 1 - soft IoU, over the classes of a batch, in addition to the cross-entropy (Rahman & Wang 2016)."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay a step of the moving average of the weights that is validated and kept (Polyak & Juditsky 1992). 0 = the
    weights themselves."""
    seed: Annotated[int, Field(ge=0)] = 0
    validate_every: Annotated[int, Field(ge=1)] = 500
    """Steps between two validations."""
    save_every: Annotated[int, Field(ge=1)] = 200
    """Steps between two saves of the state from which `--resume` continues."""
    cache_mb: Annotated[float, Field(ge=0)] = 1000.0
    """Memory for decoded training images, MB."""


class AugmentationConfig(_Section):
    flip: bool = True
    scale: tuple[Annotated[float, Field(gt=0.1)], Annotated[float, Field(le=8)]] = (0.75, 1.5)
    """Range of the random zoom; at 1 the image has the network's input size."""
    crop: Size | None = None
    """Size of the window that is trained on; the network's input size if not given."""
    focus: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the windows laid around a pixel of a class that is drawn evenly among the image's classes."""
    colour: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Strength of random brightness, contrast, gamma and colour cast."""

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> AugmentationConfig:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale is an empty range: {self.scale[0]} is more than {self.scale[1]}")
        return self


class TrainConfig(_Section):
    output: Path
    """Folder for best.npz, state.npz and curve.json."""
    data: TrainingDataConfig
    network: TrainingNetworkConfig
    training: OptimiserConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    checkpoint_dtype: Literal["float32", "float16"] = "float32"
    """Type of the weights in best.npz; they are loaded as float32 either way."""


def read_config(path: Path) -> TrainConfig:
    """Read and check a training's YAML.

    Raises:
        UserError: naming file and key: no YAML file (`read_yaml`), an unknown key (and the nearest valid one), a wrong
            value.
    """
    content = read_yaml(path, "the YAML of a training").tree
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys such as data, network and training, found {type(content).__name__}")
    say_renamed(rename_former_keys(content, OF_STREETS), str(path))
    try:
        return TrainConfig.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_one_line(error)}") from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        section: type[BaseModel] = TrainConfig
        for part in location[:-1]:
            inner = section.model_fields[part].annotation
            if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
                raise TypeError(f"{key}: {part} is no section, so no key of it can be unknown") from error
            section = inner
        return f"unknown key '{key}'{nearest(location[-1], tuple(section.model_fields))}"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    reason = first["msg"].removeprefix("Value error, ")
    given = f", got {first['input']!r}" if not isinstance(first["input"], dict) else ""
    return f"key '{key}': {reason[0].lower()}{reason[1:]}{given}"
