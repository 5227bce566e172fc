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


Architecture = Literal[
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "resnet18", "resnet34", "resnet50", "resnet101"
]
Convolutions = Literal["separable", "dense"]
_OF_DEEPLAB = (
    "aspp_width",
    "atrous_rates",
    "image_pooling",
    "branches",
    "decoder",
    "skip_width",
    "decoder_width",
    "refinement",
)
"""Keys of a DeepLab's head alone."""


class TrainingNetworkConfig(_Section):
    start: Path | None = None
    """Network to start from. A whole one fixes the network, but for `input_size`, classes and `output_stride` (its own
    if not given; strides past another one become dilations): a checkpoint (.npz), a .tflite, a frozen graph (.pb), or a
    TensorFlow checkpoint of `tensorflow/models`' DeepLab, next to which `output_stride`, `atrous_rates` and `resize`
    (align_corners if not given) say what it does not. A backbone fixes its widths alone, and the keys below say what
    the new head is like: a Keras MobileNetV2 (.h5, .keras) or a TensorFlow checkpoint without a head."""
    backbone: Path | None = None
    """Whole network, of any file, whose backbone's weights the network of the keys below starts from. The backbones'
    convolutions must be the same; the head starts anew, normalised."""
    input_size: Size
    architecture: Architecture = "mobilenet_v2"
    """Backbone of a network that is built. `width_multiplier` applies to all of them."""
    head: Literal["deeplab", "lraspp"] = "deeplab"
    """`lraspp` on MobileNetV3 alone."""
    width_multiplier: Annotated[float, Field(gt=0, le=4)] = 1.0
    reduced_tail: bool = False
    """Halve the channels of a MobileNetV3 behind its last stride (Howard et al. 2019, section 6.4)."""
    output_stride: Literal[8, 16, 32] = 16
    aspp_width: Width = 256
    atrous_rates: tuple[Width, ...] = ()
    image_pooling: bool = True
    branches: Convolutions = "separable"
    """Form of the ASPP's 3x3 convolutions."""
    decoder: bool = True
    skip_tap: Literal["expand", "depthwise", "project"] = "depthwise"
    """Of MobileNetV2 alone."""
    skip_width: Width = 48
    decoder_width: Width = 256
    refinement: Convolutions = "separable"
    """Form of the decoder's 3x3 convolutions."""
    lraspp_width: Width = 128
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
            fixed = {"architecture", "backbone", "head", "lraspp_width", "reduced_tail", "width_multiplier"}
            other = [key for key in other if key in fixed]
        if other:
            raise ValueError(f"start fixes the network; remove {other[0]}")
        return self

    @model_validator(mode="after")
    def _keys_are_those_of_the_architecture(self) -> TrainingNetworkConfig:
        is_v3 = self.architecture.startswith("mobilenet_v3")
        if self.head == "lraspp" and not is_v3:
            raise ValueError(f"head: lraspp goes on mobilenet_v3_large and mobilenet_v3_small, not {self.architecture}")
        useless = {
            self.architecture: () if is_v3 else ("reduced_tail",),
            f"head {self.head}": _OF_DEEPLAB if self.head == "lraspp" else ("lraspp_width",),
            f"architecture {self.architecture}": () if self.architecture == "mobilenet_v2" else ("skip_tap",),
        }
        for what, keys in useless.items():
            for key in keys:
                if key in self.model_fields_set:
                    raise ValueError(f"{what} has no {key}; remove the key")
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
    teacher: Path | None = None
    """Trained network of the same classes that is imitated, too: its class probabilities are targets of a second
    cross-entropy, over the pixels that have a label (Hinton et al. 2015, temperature 1)."""
    teacher_weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of that cross-entropy in the loss; the labels' losses have the rest."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop once the validation's mIoU has not risen for so many validations."""
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
