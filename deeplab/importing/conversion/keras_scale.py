"""Whether a Keras model is a whole segmentation network: from its configuration, how fine its output is."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from deeplab.importing.conversion.keras_config import image_shape
from deeplab.importing.conversion.keras_file import read_keras_file
from evaluation.errors import UserError

Scale = Fraction | None
"""Rows of a map to each row of the image; 0 for one value for all of the image, None for what is no map."""

BACKBONE_SCALE = Fraction(1, 32)
"""Scale of the features of every backbone of `keras.applications`."""
_MOST_CALLS = 5000
_Call = tuple[str, int]
"""A layer's name, and which of its calls: a layer may be used several times."""


def is_whole_model(path: Path) -> bool:
    """Whether a Keras file holds a network that ends in a map, and no backbone, classifier or weights alone.

    A backbone without its classifier ends in features at 1/32 of the image's size, a classifier in no map at all; a
    segmentation network ends in a finer map, whether it is enlarged in the network or after it. Only the
    configuration is read, and layers of unknown classes count as keeping the size.

    Args:
        path: `.keras`, `.h5` or `.hdf5`. What cannot be read is no whole model: the import of backbones tells why.
    """
    try:
        found = read_keras_file(path)
        if found is None:
            return False
        shape = image_shape(found.config)
        height = shape[1] if shape and len(shape) == 4 else None
        scales = _model(found.config, Fraction(1), height, 0)
    except (UserError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        return False
    return any(scale is not None and scale > BACKBONE_SCALE for scale in scales)


def _model(entry: dict[str, Any], given: Scale, height: int | None, depth: int) -> list[Scale]:
    """Scales of the outputs of a model that is given an input of a scale."""
    config = entry["config"]
    layers = config["layers"] if isinstance(config, dict) else config
    if depth > 20:
        raise ValueError("models nested too deeply")
    if entry["class_name"] == "Sequential":
        for layer in layers:
            given = _layer(layer, [given], height, depth)
        return [given]
    by_name = {layer.get("name") or layer["config"]["name"]: layer for layer in layers}
    before: dict[_Call, set[_Call]] = {}
    for name, layer in by_name.items():
        for index, node in enumerate(layer.get("inbound_nodes") or [None]):
            before[name, index] = set(_calls(node, by_name))
    if len(before) > _MOST_CALLS:
        raise ValueError(f"{len(before):,} calls of layers")
    scales: dict[_Call, Scale] = {}
    waiting = list(before)
    while waiting:
        left = []
        for call in waiting:
            if not (sources := before[call]):
                scales[call] = given
            elif all(source in scales for source in sources):
                scales[call] = _layer(by_name[call[0]], [scales[source] for source in sources], height, depth)
            else:
                left.append(call)
        if len(left) == len(waiting):
            raise ValueError("layers that depend on each other")
        waiting = left
    return [scales[call] for call in _calls(config["output_layers"], by_name)]


def _calls(value: Any, layers: dict[str, Any]) -> Iterator[_Call]:
    """The calls of layers that are referred to: `[name, call, tensor]` at any depth, in every version of Keras."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            if len(value) >= 3 and isinstance(value[0], str) and value[0] in layers and isinstance(value[1], int):
                yield value[0], min(value[1], max(len(layers[value[0]].get("inbound_nodes") or ()) - 1, 0))
                waiting += value[3:]
            else:
                waiting += value


def _layer(entry: dict[str, Any], given: list[Scale], height: int | None, depth: int) -> Scale:
    kind, config = entry["class_name"], entry["config"]
    maps = [scale for scale in given if scale is not None]
    if isinstance(config, list) or "layers" in config:
        return next(iter(_model(entry, maps[0] if maps else None, height, depth + 1)))
    scale = max(maps) if maps else None
    match kind:
        case "Flatten":
            return None
        case "Reshape":
            return _reshaped(scale, config["target_shape"], height)
        case "Resizing":
            return Fraction(config["height"], height) if height else Fraction(1)
        case "Resize":
            return Fraction(config["size"][0], height) if height else Fraction(1)
        case "TFOpLambda" if "resize" in str(config.get("function")):
            return Fraction(1)
    if scale is None:
        return None
    match kind:
        case "GlobalAveragePooling2D" | "GlobalAvgPool2D" | "GlobalMaxPooling2D" | "GlobalMaxPool2D":
            return Fraction(0) if config.get("keepdims") else None
        case "UpSampling2D":
            return scale * _first(config["size"])
        case "Conv2DTranspose" | "Convolution2DTranspose":
            return scale * _first(config["strides"])
        case _:
            strides = config.get("strides") or config.get("pool_size") or 1
            return scale / _first(strides)


def _reshaped(scale: Scale, shape: list[int], height: int | None) -> Scale:
    if len(shape) != 3:
        return None
    if scale is not None:
        return scale
    return Fraction(shape[0], height) if height and shape[0] > 1 else Fraction(0)


def _first(sizes: Any) -> int:
    return int(sizes[0] if isinstance(sizes, list) else sizes)
