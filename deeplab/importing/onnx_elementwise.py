"""Operators on each value of its own, with broadcasting: arithmetic and activation functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_values import Activation, Constant, Value, common_axes, widened

_SIXTH_TOLERANCE = 1e-6
_FUSED = ("ADD", "SUB", "MUL", "DIV")
"""Kinds with a fused activation function in their option table."""


def binary(call: Call, kind: str) -> Activation:
    """ADD, MUL, ... of an activation and a constant, or of two activations."""
    return combined(call, kind, call.value(0), call.value(1))


def chain(call: Call, kind: str) -> Value:
    """Sum, Max and Min of any number of inputs, two by two."""
    result = call.value(0)
    for position in range(1, len(call.inputs)):
        last = position == len(call.inputs) - 1
        result = combined(call, kind, result, call.value(position), "" if last else str(position))
    return result


def unary(call: Call, kind: str) -> Activation:
    return call.unary(kind, call.activation())


def combined(call: Call, kind: str, first: Value, second: Value, part: str = "") -> Activation:
    """Two values, one of which is an activation, by a TFLite operator with broadcasting."""
    shape = np.broadcast_shapes(first.shape, second.shape)
    rank = len(shape)
    wide = [widened(value, rank) if isinstance(value, Activation) else value for value in (first, second)]
    axes = common_axes([value for value in wide if isinstance(value, Activation)], shape)
    name = f"{call.node.name}/{part}" if part else call.node.name
    operands = [
        call.graph.operand(value, rank, axes, name if place == 0 else f"{name}/second")
        for place, value in enumerate(wide)
    ]
    result = Activation(0, shape, axes)
    attributes: dict[str, Any] = {"activation": "NONE"} if kind in _FUSED else {}
    return replace(result, tensor=call.operate(kind, operands, result.physical_shape, part, **attributes))


def clip(call: Call) -> Value:
    """Clip: an activation function of TFLite where it is one, else MAXIMUM and MINIMUM."""
    least, most = (_bound(call, position, name) for position, name in ((1, "min"), (2, "max")))
    value = call.activation()
    known = {(0.0, 6.0): "RELU6", (0.0, np.inf): "RELU", (-1.0, 1.0): "RELU_N1_TO_1"}
    if (least, most) in known:
        return call.unary(known[least, most], value)
    if (least, most) == (-np.inf, np.inf):
        return value
    if least > -np.inf:
        value = combined(call, "MAXIMUM", value, _number(least), "" if most == np.inf else "least")
    return value if most == np.inf else combined(call, "MINIMUM", value, _number(most))


def _bound(call: Call, position: int, name: str) -> float:
    """A bound of Clip; none, and the largest number there is, are infinite."""
    infinite = np.inf if name == "max" else -np.inf
    stated = call.optional(position, name)
    bound = float(call.node.attribute(name, infinite) if stated is None else stated.reshape(()))
    return infinite if abs(bound) >= np.finfo(np.float32).max and np.sign(bound) == np.sign(infinite) else bound


def hard_sigmoid(call: Call) -> Value:
    """HardSigmoid, max(0, min(1, alpha x + beta)), as RELU6(6 alpha x + 6 beta) / 6."""
    alpha, beta = call.node.attribute("alpha", 0.2), call.node.attribute("beta", 0.5)
    value = call.activation()
    if abs(6.0 * alpha - 1.0) > _SIXTH_TOLERANCE:
        value = combined(call, "MUL", value, _number(6.0 * alpha), "scale")
    value = combined(call, "ADD", value, _number(6.0 * beta), "shift")
    value = call.unary("RELU6", value, "clamp")
    return combined(call, "MUL", value, _number(1.0 / 6.0))


def swish(call: Call) -> Value:
    """Swish, x sigmoid(alpha x)."""
    value, alpha = call.activation(), call.node.attribute("alpha", 1.0)
    scaled = value if alpha == 1.0 else combined(call, "MUL", value, _number(alpha), "scale")
    return combined(call, "MUL", value, call.unary("LOGISTIC", scaled, "sigmoid"))


def leaky_relu(call: Call) -> Value:
    return call.unary("LEAKY_RELU", call.activation(), alpha=float(call.node.attribute("alpha", 0.01)))


def elu(call: Call) -> Value:
    if call.node.attribute("alpha", 1.0) != 1.0:
        call.refuse(f"alpha 1, not {call.node.attribute('alpha'):g}")
    return call.unary("ELU", call.activation())


def gelu(call: Call) -> Value:
    return call.unary("GELU", call.activation(), approximate=call.node.attribute("approximate", "none") == "tanh")


def prelu(call: Call) -> Value:
    """PRelu with constant slopes, for each channel or one for all."""
    value, slopes = call.activation(), call.constant(1, "slopes")
    if np.broadcast_shapes(value.shape, slopes.shape) != value.shape:
        call.refuse(f"slopes that fit {list(value.shape)}, not {list(slopes.shape)}")
    rank = len(value.shape)
    operand = call.graph.operand(Constant(slopes), rank, common_axes([value], value.shape), f"{call.node.name}/slope")
    return replace(value, tensor=call.operate("PRELU", (value.tensor, operand), value.physical_shape))


def power(call: Call) -> Value:
    """Pow by the constants 1, 2 and 0.5."""
    value, exponent = call.activation(), call.constant(1, "an exponent")
    known = {1.0, 2.0, 0.5}
    if exponent.size != 1 or float(exponent.reshape(())) not in known:
        call.refuse("an exponent of 1, 2 or 0.5")
    if exponent.reshape(()) == 1.0:
        return value
    return combined(call, "MUL", value, value) if exponent.reshape(()) == 2.0 else call.unary("SQRT", value)


def reciprocal(call: Call) -> Value:
    return combined(call, "DIV", _number(1.0), call.activation())


def batch_normalization(call: Call) -> Value:
    """BatchNormalization as MUL and ADD, which a convolution before them takes over where it can (`onnx_affine`)."""
    value = call.activation()
    scale, shift, mean, variance = (
        call.constant(position, what).astype(np.float64)
        for position, what in ((1, "scale"), (2, "B"), (3, "mean"), (4, "var"))
    )
    if call.node.attribute("training_mode", 0) or len(call.node.definition.output) > 1:
        call.refuse("batch normalization by fixed mean and variance; export the model in eval mode")
    channels = value.shape[1]
    if any(array.shape != (channels,) for array in (scale, shift, mean, variance)):
        call.refuse(f"scale, B, mean and var of {channels} channels")
    with np.errstate(all="ignore"):  # values that are not finite are refused by name where the network is read
        factor = scale / np.sqrt(variance + call.node.attribute("epsilon", 1e-5))
        offset = shift - mean * factor
    wide = (channels,) + (1,) * (len(value.shape) - 2)
    value = combined(call, "MUL", value, Constant(factor.reshape(wide).astype(np.float32)), "factor")
    return combined(call, "ADD", value, Constant(offset.reshape(wide).astype(np.float32)))


def _number(value: float) -> Constant:
    return Constant(np.array(value, np.float32))
