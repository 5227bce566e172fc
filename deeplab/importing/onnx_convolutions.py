"""Conv, Gemm and MatMul with constant weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_values import NHWC, Activation, Constant, Value, as_image
from deeplab.importing.onnx_weights import bias_of, constant_weights, kernel_of, reordered
from deeplab.importing.onnx_windows import Pairs, is_same, padded, stated_padding, window_of


def convolution(call: Call) -> Value:
    """Conv: CONV_2D, or DEPTHWISE_CONV_2D where each group has one input channel."""
    image, weights = call.image(), constant_weights(call, 4)
    channels, size = image.shape[1], (image.shape[2], image.shape[3])
    filters, depth, *kernel = weights.shape
    groups = call.node.attribute("group", 1)
    if groups < 1 or channels != depth * groups or filters % groups:
        call.refuse(f"weights for {channels} channels in {groups} groups, not {list(weights.shape)}")
    window = window_of(call, kernel)
    tensor, size, pads = _with_padding_before(call, image, stated_padding(call, window, size))
    padding: str = "SAME"
    shape: tuple[int, ...] = (1, *size, channels)
    if not is_same(window, size, pads):
        padding, (tensor, shape) = "VALID", padded(call, tensor, shape, pads)
    is_depthwise = groups > 1 and depth == 1
    order = (1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1)
    attributes: dict[str, Any] = {
        "stride": window.stride,
        "dilation": window.dilation,
        "padding": padding,
        "activation": "NONE",
    }
    if is_depthwise:
        attributes["depth_multiplier"] = filters // groups
    outputs = window.outputs(shape[1:3], padding)
    inputs = (tensor, kernel_of(call, weights, order), bias_of(call, 2, filters))
    kind = "DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D"
    written = call.operate(kind, inputs, (1, *outputs, filters), **attributes)
    return Activation(written, (1, filters, *outputs), NHWC)


def general_product(call: Call) -> Value:
    """Gemm of a vector: alpha A B + beta C with constant B and C, as a 1 x 1 CONV_2D."""
    vector, weights = call.activation(), constant_weights(call, 2, position=1)
    if call.node.attribute("transA", 0) or len(vector.shape) != 2:
        call.refuse("rows of values (1, channels) at its first input")
    if call.node.attribute("transB", 0):
        weights = reordered(weights, (1, 0))
    alpha, beta = call.node.attribute("alpha", 1.0), call.node.attribute("beta", 1.0)
    if alpha != 1.0:
        weights = Constant(weights.array * np.float32(alpha))
    shift = call.optional(2, "C")
    bias = np.zeros(1, np.float32) if shift is None else shift.astype(np.float32) * np.float32(beta)
    if bias.size not in (1, weights.shape[1]):
        call.refuse(f"one C for each of {weights.shape[1]} outputs, not {list(bias.shape)}")
    return _product(call, vector, weights, np.broadcast_to(bias.reshape(-1), (weights.shape[1],)))


def matrix_product(call: Call) -> Value:
    """MatMul of an activation by constant weights (in, out), as a 1 x 1 CONV_2D."""
    weights = constant_weights(call, 2, position=1)
    return _product(call, call.activation(), weights, np.zeros(weights.shape[1], np.float32))


def _product(call: Call, value: Activation, weights: Constant, bias: np.ndarray) -> Value:
    """The product of the last axis of a value by weights (in, out)."""
    depth, filters = weights.shape
    if not value.shape or value.shape[-1] != depth:
        call.refuse(f"weights for rows of {list(value.shape)[-1:]} values, not {list(weights.shape)}")
    last = len(value.shape) - 1
    rows = [axis for axis in value.order if axis != last]
    pixels = as_image((*rows, last))
    if len(pixels) > 4:
        call.refuse("a product of at most three axes of rows")
    source = call.graph.arranged(value, pixels, call.node.name)
    shape = (*value.shape[:-1], filters)
    result = Activation(0, shape, pixels)
    kernel = kernel_of(call, Constant(weights.array[..., None, None], weights.quantization), (1, 2, 3, 0))
    shift = call.graph.constant(f"{call.node.name}/bias", bias)
    attributes: dict[str, Any] = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    written = call.operate("CONV_2D", (source, kernel, shift), result.physical_shape, **attributes)
    return replace(result, tensor=written)


def _with_padding_before(call: Call, image: Activation, pads: Pairs) -> tuple[int, tuple[int, int], Pairs]:
    """(tensor, its height and width, padding): a PAD with zeros that feeds the convolution adds to its padding."""
    pad = call.graph.writer(image.tensor)
    if pad is not None and pad.kind == "PAD" and not any(map(any, pad.attributes["paddings"][::3])):
        rows, columns = pad.attributes["paddings"][1:3]
        own_rows, own_columns = pads
        both = (
            (own_rows[0] + rows[0], own_rows[1] + rows[1]),
            (own_columns[0] + columns[0], own_columns[1] + columns[1]),
        )
        _, height, width, _ = call.graph.tensors[pad.inputs[0]].shape
        return pad.inputs[0], (height, width), both
    return image.tensor, (image.shape[2], image.shape[3]), pads
