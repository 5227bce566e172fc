"""Operators that choose among the values along an axis, or move values between channels and pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_shapes import reshaped
from deeplab.importing.onnx_values import Activation, Value, default_axes


def softmax(call: Call) -> Value:
    return call.unary("SOFTMAX", _normalized_last(call), beta=1.0)


def log_softmax(call: Call) -> Value:
    return call.unary("LOG_SOFTMAX", _normalized_last(call))


def _normalized_last(call: Call) -> Activation:
    """The input of a softmax in a layout whose last axis is the one that it runs over."""
    value = call.activation()
    rank = len(value.shape)
    axis = call.axis(call.node.attribute("axis", 1 if call.opset < 13 else -1), rank)
    if call.opset < 13 and any(size != 1 for size in value.shape[axis + 1 :]):
        call.refuse("a softmax over one axis; export with opset 17")  # older ones are over all axes from there on
    return _with_last(call, value, axis)


def argmax(call: Call) -> Value:
    value = call.activation()
    axis = call.axis(call.node.attribute("axis", 0), len(value.shape))
    if call.node.attribute("select_last_index", 0):
        call.refuse("the first of equal values (select_last_index 0)")
    value = _with_last(call, value, axis)
    shape = tuple(1 if place == axis else size for place, size in enumerate(value.shape))
    # TFLite's result has no such axis; that it has size 1 is said by `axes`, which need not name it.
    result = Activation(0, shape, value.axes[:-1])
    place = len(value.axes) - 1
    stated = call.graph.integers(f"{call.node.name}/axis", place)
    written = call.operate("ARG_MAX", (value.tensor, stated), result.physical_shape, dtype="int64", axis=place)
    result = replace(result, tensor=written)
    if call.node.attribute("keepdims", 1):
        return result
    return reshaped(call, result, (*shape[:axis], *shape[axis + 1 :]))


def depth_to_space(call: Call) -> Value:
    image = call.image()
    block, mode = call.node.attribute("blocksize", 1), call.node.attribute("mode", "DCR")
    _, channels, rows, columns = image.shape
    if block < 1 or channels % block**2:
        call.refuse(f"blocks of channels, of which there are {channels}")
    if mode == "CRD":
        image = _channels_reordered(call, image, block)
    elif mode != "DCR":
        call.refuse(f"mode DCR or CRD, not {mode}")
    shape = (1, channels // block**2, rows * block, columns * block)
    result = Activation(0, shape, image.axes)
    written = call.operate("DEPTH_TO_SPACE", (image.tensor,), result.physical_shape, block_size=block)
    return replace(result, tensor=written)


def space_to_depth(call: Call) -> Value:
    image = call.image()
    block = call.node.attribute("blocksize", 1)
    _, channels, rows, columns = image.shape
    if block < 1 or rows % block or columns % block:
        call.refuse(f"blocks of {rows} x {columns}")
    result = Activation(0, (1, channels * block**2, rows // block, columns // block), image.axes)
    written = call.operate("SPACE_TO_DEPTH", (image.tensor,), result.physical_shape, block_size=block)
    return replace(result, tensor=written)


def _channels_reordered(call: Call, image: Activation, block: int) -> Activation:
    """The channels (c, y, x) as (y, x, c), by a 1 x 1 convolution; one before it takes it over (`onnx_affine`)."""
    channels = image.shape[1]
    order = np.arange(channels).reshape(-1, block, block).transpose(1, 2, 0).reshape(-1)
    kernel = np.eye(channels, dtype=np.float32)[order].reshape(channels, 1, 1, channels)
    constants = [
        call.graph.constant(f"{call.node.name}/{name}", array)
        for name, array in (("kernel", kernel), ("bias", np.zeros(channels, np.float32)))
    ]
    attributes: dict[str, Any] = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    written = call.operate("CONV_2D", (image.tensor, *constants), image.physical_shape, "order", **attributes)
    return replace(image, tensor=written)


def _with_last(call: Call, value: Activation, axis: int) -> Activation:
    """The value in a layout whose last axis is a given one."""
    if value.axes and value.axes[-1] == axis:
        return value
    last = default_axes(len(value.shape))
    if last[-1] != axis:
        last = (*(other for other in last if other != axis), axis)
    return replace(value, tensor=call.graph.arranged(value, last, call.node.name), axes=last)
