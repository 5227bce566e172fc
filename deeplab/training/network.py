"""The network that a training begins with: built as the YAML says, or of a file, and the weights it starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deeplab.architectures import (
    BackboneWidths,
    DeepLabHead,
    mobilenet_v2_deeplab,
    mobilenet_v3_deeplab,
    mobilenet_v3_lraspp,
    resnet_deeplab,
)
from deeplab.importing import Backbone, Unstated, load_network, load_start
from deeplab.network import (
    CONVOLUTIONS,
    classes,
    weight_shapes,
    weights,
    with_tensors,
    without_weights,
)
from deeplab.sizes import with_classes, with_input_size, with_output_stride
from deeplab.stages import stages
from deeplab.training.config import TrainingNetworkConfig
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator

_HEAD = (
    "aspp_width",
    "atrous_rates",
    "image_pooling",
    "branches",
    "decoder",
    "skip_width",
    "decoder_width",
    "refinement",
    "resize",
)
"""Keys that are fields of `DeepLabHead`."""

Weights = Mapping[str, np.ndarray]
"""Kernels and biases by name, as of `deeplab.network.weights`; a convolution without any starts anew."""


def starting_network(options: TrainingNetworkConfig, outputs: int) -> tuple[Graph, Weights | None]:
    """The network to train, without weights, and the weights to start from (None: from scratch).

    Args:
        options: the section `network` of the YAML.
        outputs: classes of the data.

    Raises:
        UserError: a file is no network, has another backbone, or is a whole network and keys say otherwise.
    """
    if options.start is None:
        built = built_network(options, outputs)
        return (built, None) if options.backbone is None else with_backbone_of(built, options.backbone)
    height, width = options.input_size
    given = options.model_dump(include={"output_stride", "atrous_rates", "resize"}, exclude_unset=True)
    start = load_start(options.start, Unstated((height, width), **given))
    if isinstance(start, Backbone):
        return built_network(options, outputs, start.widths), dict(start.weights)
    if unused := sorted(options.model_fields_set - {"start", "input_size", *given}):
        raise UserError(f"network.{unused[0]}: {options.start} is a whole network, which fixes it; remove the key")
    network, trained = with_input_size(start, height, width), weights(start)
    if "output_stride" in given:
        network = with_output_stride(network, options.output_stride)
    if classes(network) != outputs:  # another task: the convolutions of the classes start anew
        network = with_classes(network, outputs)
        trained = {name: array for name, array in trained.items() if array.shape == weight_shapes(network)[name]}
    return without_weights(network), trained


def built_network(options: TrainingNetworkConfig, outputs: int, widths: BackboneWidths | None = None) -> Graph:
    """The network of an architecture, without weights; `widths` of a MobileNetV2 instead of the multiplier's."""
    height, width = options.input_size
    common: dict[str, Any] = {
        "input_height": height, "input_width": width, "classes": outputs, "output_stride": options.output_stride,
        "width_multiplier": options.width_multiplier,
    }  # fmt: skip
    head = options.model_dump(include=set(_HEAD))
    if options.architecture == "mobilenet_v2":
        return mobilenet_v2_deeplab(**common, **head, skip_tap=options.skip_tap, backbone=widths)
    if options.architecture.startswith("resnet"):
        depth = int(options.architecture.removeprefix("resnet"))
        return resnet_deeplab(**common, depth=depth, head=DeepLabHead(**head))  # type: ignore[arg-type]
    common |= {"size": options.architecture.removeprefix("mobilenet_v3_"), "reduced_tail": options.reduced_tail}
    if options.head == "lraspp":
        return mobilenet_v3_lraspp(**common, lraspp_width=options.lraspp_width, resize=options.resize)
    return mobilenet_v3_deeplab(**common, head=DeepLabHead(**head))


def with_backbone_of(built: Graph, path: Path) -> tuple[Graph, Weights]:
    """A network that reads pixels as the one of a file, and the weights of that one's backbone under its own names.

    The backbones' convolutions correspond in their order, and must have the same kernels and activation functions.

    Raises:
        UserError: the file is no network, or has another backbone.
    """
    file = load_network(path)
    own, theirs = _backbone(built), _backbone(file)
    if len(own) != len(theirs):
        raise UserError(
            f"network.backbone: {path} has a backbone of {len(theirs)} convolutions, the architecture one of {len(own)}"
        )
    found, trained = {}, weights(file)
    for one, other in zip(own, theirs, strict=True):
        ours, its = (_described(graph, operator) for graph, operator in ((built, one), (file, other)))
        if ours != its:
            raise UserError(f"network.backbone: {path}: convolution {other.name!r} is {its}, here {one.name!r} {ours}")
        for part in ("kernel", "bias"):
            found[f"{one.name}/{part}"] = trained[f"{other.name}/{part}"]
    (frame,), (pixels,) = built.inputs, file.inputs
    read = replace(built.tensors[frame], quantization=file.tensors[pixels].quantization)
    return with_tensors(built, {frame: read}), found


def _backbone(graph: Graph) -> list[Operator]:
    return [
        operator
        for operator, stage in zip(graph.operators, stages(graph), strict=True)
        if stage == "backbone" and operator.kind in CONVOLUTIONS
    ]


def _described(graph: Graph, operator: Operator) -> str:
    shape = graph.tensors[operator.inputs[1]].shape
    return f"{operator.kind} {list(shape)} {operator.attributes['activation']}"
