"""Operator attributes as the rest of the program names them, from the flatbuffer's option tables and constant inputs.

Kinds that are listed in `Operator.attributes` get the names documented there. Every other builtin keeps its schema
field names in snake case. Parameters that TFLite passes as constant inputs (axes, paddings, permutations) are copied
into the attributes as tuples of int.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from evaluation.graph.flatbuffer import RefusedError

Constant = Callable[[int], np.ndarray | None]
"""From the position of an operator's input to its constant value, or None where it is not constant."""

_ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
_PADDINGS = {0: "SAME", 1: "VALID"}
_MIRRORS = {0: "REFLECT", 1: "SYMMETRIC"}
_WINDOWED = {
    "CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "TRANSPOSE_CONV", "CONV_3D",
    "CONV_3D_TRANSPOSE",
}  # fmt: skip
_OPTIONS = {
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), "Pool2DOptions"),
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "PACK": "PackOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
}
"""Option tables without which an operator is not defined, by kind."""
_MOST_WINDOW = 2**15 - 1
"""Largest stride, dilation and filter size: LiteRT's own kernels refuse more."""
_DROPPED = {"pot_scale_int16", "quantized_bias_type", "fake_quant", "ksize"}

# kind -> ((position of the constant input, attribute), ...)
_FROM_INPUTS: dict[str, tuple[tuple[int, str], ...]] = {
    "PAD": ((1, "paddings"),),
    "PADV2": ((1, "paddings"),),
    "MIRROR_PAD": ((1, "paddings"),),
    "TRANSPOSE": ((1, "permutation"),),
    "MEAN": ((1, "axes"),),
    "SUM": ((1, "axes"),),
    "REDUCE_MAX": ((1, "axes"),),
    "REDUCE_MIN": ((1, "axes"),),
    "REDUCE_PROD": ((1, "axes"),),
    "REDUCE_ANY": ((1, "axes"),),
    "REDUCE_ALL": ((1, "axes"),),
    "REVERSE_V2": ((1, "axes"),),
    "CUMSUM": ((1, "axis"),),
    "ARG_MAX": ((1, "axis"),),
    "ARG_MIN": ((1, "axis"),),
    "STRIDED_SLICE": ((1, "begin"), (2, "end"), (3, "strides")),
    "SLICE": ((1, "begin"), (2, "size")),
    "SPLIT": ((0, "axis"),),
    "SPLIT_V": ((1, "sizes"), (2, "axis")),
    "EXPAND_DIMS": ((1, "axis"),),
    "TOPK_V2": ((1, "k"),),
    "SPACE_TO_BATCH_ND": ((1, "block_shape"), (2, "paddings")),
    "BATCH_TO_SPACE_ND": ((1, "block_shape"), (2, "crops")),
}
_SCALARS = {"axis", "k"}
_PAIRS = {"paddings", "crops"}

# kind -> (input whose axes are counted, axes that the operator adds to it)
_COUNTED_AXES = {
    "ARG_MAX": (0, 0), "ARG_MIN": (0, 0), "SPLIT": (1, 0), "SPLIT_V": (0, 0), "CONCATENATION": (0, 0), "MEAN": (0, 0),
    "SUM": (0, 0), "REDUCE_MAX": (0, 0), "REDUCE_MIN": (0, 0), "REDUCE_PROD": (0, 0), "REDUCE_ANY": (0, 0),
    "REDUCE_ALL": (0, 0), "REVERSE_V2": (0, 0), "CUMSUM": (0, 0), "GATHER": (0, 0), "UNPACK": (0, 0), "PACK": (0, 1),
    "EXPAND_DIMS": (0, 1), "ONE_HOT": (0, 1),
}  # fmt: skip


class AttributeRefusedError(RefusedError):
    """An attribute holds a value that the schema does not define."""


def read_attributes(
    kind: str, options: Any | None, constant: Constant, input_rank: Callable[[int], int]
) -> dict[str, Any]:
    """Attributes of one operator. `options` is the schema's unpacked option object, or None where the file has none."""
    found = "none" if options is None else type(options).__name__.removesuffix("T")
    if (expected := _OPTIONS.get(kind, found)) != found:
        raise AttributeRefusedError(f"has {found} where {expected} belongs")
    fields = {_snake(name): value for name, value in vars(options).items()} if options is not None else {}
    attributes: dict[str, Any] = {}
    if "fused_activation_function" in fields:
        attributes["activation"] = _named(_ACTIVATIONS, fields.pop("fused_activation_function"), "activation")
    if kind in _WINDOWED:
        attributes |= _window(kind, fields)
    for name, value in fields.items():
        if name not in _DROPPED and isinstance(value, bool | int | float):
            attributes[name] = value
    if kind == "MIRROR_PAD":
        attributes["mode"] = _named(_MIRRORS, attributes.get("mode", 0), "mode")
    for position, name in _FROM_INPUTS.get(kind, ()):
        attributes[name] = _from_input(name, constant(position))
    return _positive_axes(kind, attributes, input_rank)


def _from_input(name: str, value: np.ndarray | None) -> int | tuple[int, ...] | tuple[tuple[int, int], ...]:
    """The value of a constant input: one number, pairs, or a tuple of numbers."""
    if value is None:
        raise AttributeRefusedError(f"{name} is computed at run time; only constant {name} can be planned")
    if value.dtype.kind != "i":
        raise AttributeRefusedError(f"{name} must be integers, not {value.dtype}")
    if name in _SCALARS:
        if value.size != 1:
            raise AttributeRefusedError(f"{name} must be one number, not {value.size}")
        return int(value.reshape(-1)[0])
    if name in _PAIRS:
        if value.ndim != 2 or value.shape[1] != 2:
            raise AttributeRefusedError(f"{name} must have shape (rank, 2), not {value.shape}")
        return tuple((int(before), int(after)) for before, after in value)
    return tuple(int(v) for v in value.reshape(-1))


def _window(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Stride, dilation, filter and padding of a sliding window, by (height, width), in 3-D (depth, height, width)."""
    window: dict[str, Any] = {"padding": _named(_PADDINGS, fields.pop("padding", 0), "padding")}
    axes = ("d", "h", "w") if kind.startswith("CONV_3D") else ("h", "w")
    names = [("stride", [f"stride_{axis}" for axis in axes])]
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE"):
        names.append(("dilation", [f"dilation_{axis}factor" for axis in axes]))
    if kind.endswith("POOL_2D"):
        names.append(("filter", ["filter_height", "filter_width"]))
    for name, parts in names:
        window[name] = tuple(int(fields.pop(part, 1)) for part in parts)
        if min(window[name]) < 1:
            raise AttributeRefusedError(f"{name} must be at least 1, not {window[name]}")
        if max(window[name]) > _MOST_WINDOW:
            raise AttributeRefusedError(f"{name} must be at most {_MOST_WINDOW}, not {window[name]}")
    return window


def _positive_axes(kind: str, attributes: dict[str, Any], input_rank: Callable[[int], int]) -> dict[str, Any]:
    """Count axes from the front, so that no reader of the graph has to."""
    for name in ("axis", "axes"):
        if name not in attributes or kind not in _COUNTED_AXES:
            continue
        position, added = _COUNTED_AXES[kind]
        rank = input_rank(position) + added
        value = attributes[name]
        axes = value if isinstance(value, tuple) else (value,)
        if any(not -rank <= axis < rank for axis in axes):
            raise AttributeRefusedError(f"{name} {value} does not fit a tensor of rank {rank}")
        positive = tuple(sorted({axis % rank for axis in axes}))
        attributes[name] = positive if isinstance(value, tuple) else positive[0]
    return attributes


def _named(names: dict[int, str], value: int, what: str) -> str:
    if value not in names:
        raise AttributeRefusedError(f"{what} has the undefined code {value}")
    return names[value]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
