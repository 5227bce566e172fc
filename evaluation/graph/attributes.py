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

Constant = Callable[[int], np.ndarray | None]
"""From the position of an operator's input to its constant value, or None where it is not constant."""

_ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
_PADDINGS = {0: "SAME", 1: "VALID"}
_WINDOWED = {"CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "TRANSPOSE_CONV"}
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
    "ARG_MAX": ((1, "axis"),),
    "ARG_MIN": ((1, "axis"),),
    "STRIDED_SLICE": ((1, "begin"), (2, "end"), (3, "strides")),
    "SLICE": ((1, "begin"), (2, "size")),
    "SPLIT": ((0, "axis"),),
    "EXPAND_DIMS": ((1, "axis"),),
}
_SCALAR_INPUTS = {"ARG_MAX", "ARG_MIN", "SPLIT", "EXPAND_DIMS"}
_AXIS_OF_INPUT = {"ARG_MAX": 0, "ARG_MIN": 0, "SPLIT": 1, "CONCATENATION": 0, "MEAN": 0, "SUM": 0}


class AttributeRefusedError(ValueError):
    """An attribute holds a value that the schema does not define."""


def read_attributes(kind: str, options: Any | None, constant: Constant, input_rank: Callable[[int], int]) -> dict:
    """Attributes of one operator. `options` is the schema's unpacked option object, or None where the file has none."""
    fields = {_snake(name): value for name, value in vars(options).items()} if options is not None else {}
    attributes: dict[str, Any] = {}
    if "fused_activation_function" in fields:
        attributes["activation"] = _named(_ACTIVATIONS, fields.pop("fused_activation_function"), "activation")
    if kind in _WINDOWED:
        attributes |= _window(kind, fields)
    for name, value in fields.items():
        if name not in _DROPPED and isinstance(value, bool | int | float):
            attributes[name] = value
    for position, name in _FROM_INPUTS.get(kind, ()):
        value = constant(position)
        if value is None:
            raise AttributeRefusedError(f"{name} is computed at run time; only constant {name} can be planned")
        if kind in _SCALAR_INPUTS:
            if value.size != 1:
                raise AttributeRefusedError(f"{name} must be one number, not {value.size}")
            attributes[name] = int(value.reshape(-1)[0])
        elif name == "paddings":
            if value.ndim != 2 or value.shape[1] != 2:
                raise AttributeRefusedError(f"paddings must have shape (rank, 2), not {value.shape}")
            attributes[name] = tuple((int(before), int(after)) for before, after in value)
        else:
            attributes[name] = tuple(int(v) for v in value.reshape(-1))
    return _positive_axes(kind, attributes, input_rank)


def _window(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Stride, dilation, filter and padding of a sliding window, as (height, width) pairs."""
    window: dict[str, Any] = {"padding": _named(_PADDINGS, fields.pop("padding", 0), "padding")}
    pairs = [("stride", "stride_h", "stride_w")]
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        pairs.append(("dilation", "dilation_hfactor", "dilation_wfactor"))
    if kind.endswith("POOL_2D"):
        pairs.append(("filter", "filter_height", "filter_width"))
    for name, height, width in pairs:
        pair = int(fields.pop(height, 1)), int(fields.pop(width, 1))
        if min(pair) < 1:
            raise AttributeRefusedError(f"{name} must be at least 1, not {pair}")
        window[name] = pair
    return window


def _positive_axes(kind: str, attributes: dict[str, Any], input_rank: Callable[[int], int]) -> dict[str, Any]:
    """Count axes from the front, so that no reader of the graph has to."""
    for name in ("axis", "axes"):
        if name not in attributes or kind not in _AXIS_OF_INPUT:
            continue
        rank = input_rank(_AXIS_OF_INPUT[kind])
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
