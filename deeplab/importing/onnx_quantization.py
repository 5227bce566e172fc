"""QuantizeLinear and DequantizeLinear in the QDQ form: parameters of tensors, not operators of the file graph.

A pair on an activation rounds and clamps it. The file graph is the float network, so the rounding is left out and the
parameters stay with the tensor. A clamp at zero is not left out: quantizers drop a ReLU or ReLU6 whose range the pair
has (onnxruntime.quantization does), so it comes back as an activation function.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_signs import is_not_negative
from deeplab.importing.onnx_values import Activation, Constant, StoredAs, Value, int8_quantization

_CLAMPABLE = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "ADD", "SUB", "MUL", "DIV")
"""Kinds that make negative values of others."""


def quantize(call: Call) -> Value:
    """QuantizeLinear of an activation: the value, marked as stored in integers; its tensor takes the parameters."""
    value, stored = call.activation(), _parameters(call)
    if stored.least == 0.0:
        value = _clamped(call, value, stored)
    call.graph.quantize(value.tensor, stored.as_int8)
    return replace(value, stored=stored)


def dequantize(call: Call) -> Value:
    """DequantizeLinear of a constant, or of what a QuantizeLinear of the same parameters gave."""
    value = call.inputs[0]
    if isinstance(value, Constant):
        return _real(call, value.array)
    stored = _parameters(call)
    if value is not None and value.stored is None and call.graph.writer(value.tensor) is None:  # an image of integers
        call.graph.quantize(value.tensor, stored.as_int8)
        return value
    if value is None or value.stored != stored:
        call.refuse("integers of a constant, or of a QuantizeLinear of the same scale and zero point")
    return replace(value, stored=None)


def _parameters(call: Call) -> StoredAs:
    scale, zero = call.constant(1, "a scale"), call.optional(2, "a zero point")
    dtype = "uint8" if zero is None else zero.dtype.name
    if scale.size != 1 or (zero is not None and zero.size != 1):
        call.refuse("one scale and one zero point for an activation")
    if dtype not in ("int8", "uint8", "int16", "uint16"):
        call.refuse(f"quantization to 8 or 16 bits, not {dtype}")
    number = float(scale.reshape(()))
    if not (np.isfinite(number) and number > 0):
        call.refuse(f"a scale above 0, not {number:g}")
    return StoredAs(number, 0 if zero is None else int(zero.reshape(())), dtype)


def _real(call: Call, array: np.ndarray) -> Constant:
    """(q - zero point) * scale in float32, per tensor or along an axis (ONNX operators, DequantizeLinear)."""
    scale, zero = call.constant(1, "a scale"), call.optional(2, "a zero point")
    narrow = array.dtype.name in ("int4", "uint4")
    if narrow:
        array, zero = array.astype(np.int8), None if zero is None else zero.astype(np.int8)
    if call.node.attribute("block_size", 0):
        call.refuse("a scale per tensor or per channel, not per block")
    if array.dtype.kind not in "iu" or (zero is not None and zero.shape != scale.shape):
        call.refuse("integers, and a zero point for each scale")
    if not np.isfinite(scale).all():
        call.refuse("finite scales")
    offset = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    axis, wide = None, (1,) * array.ndim
    if scale.size > 1:
        axis = call.axis(call.node.attribute("axis", 1), array.ndim)
        if scale.shape != (array.shape[axis],):
            call.refuse(f"{array.shape[axis]} scales along axis {axis}, not {list(scale.shape)}")
        wide = tuple(-1 if place == axis else 1 for place in range(array.ndim))
    real = (array.astype(np.int64) - offset.reshape(wide)) * scale.astype(np.float64).reshape(wide)
    return Constant(real.astype(np.float32), int8_quantization(scale, offset, array.dtype.name, axis))


def _clamped(call: Call, value: Activation, stored: StoredAs) -> Activation:
    """The value with the ReLU that a range from zero stands for, where it can be negative."""
    writer = call.graph.writer(value.tensor)
    if writer is None or writer.kind not in _CLAMPABLE or is_not_negative(call.graph, value.tensor):
        return value
    kind = "RELU6" if stored.largest < 6.0 + stored.scale else "RELU"
    for operator in call.graph.operators:
        if operator.kind == kind and operator.inputs == (value.tensor,):  # of another pair on the same value
            return replace(value, tensor=operator.outputs[0])
    name = call.graph.tensors[value.tensor].name
    clamped = call.unary(kind, value)
    call.graph.rename(clamped.tensor, name)  # the file has one value here, behind the clamp
    return clamped
