"""Conv, ConvTranspose, Gemm and MatMul with constant weights.

Weights come in ONNX's order, (out, in / groups, h, w), transposed convolutions (in, out / groups, h, w), and go in
TFLite's: (out, h, w, in / groups), depthwise (1, h, w, channels).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_values import NHWC, Activation, Constant, Value, as_image
from deeplab.importing.onnx_windows import Pairs, Window, is_same, padded, stated_padding, window_of
from deeplab.network import MOST_EXTENT
from evaluation.graph import Quantization
from evaluation.graph.shape_rules import window_outputs

_MOST_WEIGHTS = 1 << 27
"""Elements of a kernel that is spread out: of groups, or with the zeros of a dilation."""


def convolution(call: Call) -> Value:
    """Conv: CONV_2D, or DEPTHWISE_CONV_2D where each group has one input channel."""
    image, weights = call.image(), _weights(call, 4)
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
    inputs = (tensor, _kernel(call, weights, order), _bias(call, 2, filters))
    kind = "DEPTHWISE_CONV_2D" if is_depthwise else "CONV_2D"
    written = call.operate(kind, inputs, (1, *outputs, filters), **attributes)
    return Activation(written, (1, filters, *outputs), NHWC)


def transposed_convolution(call: Call) -> Value:
    """ConvTranspose: TRANSPOSE_CONV, with VALID padding and a SLICE behind it where the padding is not TFLite's SAME.

    Groups and dilations, which TFLite's has not, become zeros in the kernel.
    """
    image, weights = call.image(), _weights(call, 4)
    _, channels, *size = image.shape
    groups = call.node.attribute("group", 1)
    if groups < 1 or channels != weights.shape[0] or channels % groups:
        call.refuse(f"weights for {channels} channels in {groups} groups, not {list(weights.shape)}")
    window = window_of(call, weights.shape[2:])
    if channels * weights.shape[1] * groups * window.reach[0] * window.reach[1] > _MOST_WEIGHTS:
        call.refuse(f"a kernel of at most {_MOST_WEIGHTS:,} weights without groups and dilations")
    spread = _without_groups(_without_dilation(weights, window), groups)
    outputs, pads = _transposed_outputs(call, window, size)
    filters = spread.shape[1]
    kernel, bias = _kernel(call, spread, (1, 2, 3, 0)), _bias(call, 2, filters)
    reach = Window(window.reach, window.stride, (1, 1))
    is_plain = reach.outputs(outputs, "SAME") == tuple(size) and _begins(reach.same_padding(outputs)) == _begins(pads)
    is_valid = not any(_begins(pads)) and reach.outputs(outputs, "VALID") == tuple(size)
    padding = "VALID" if is_valid else "SAME" if is_plain else "VALID"
    whole = outputs if is_plain or is_valid else _uncut(call, reach, size, outputs, pads)
    stated = call.graph.integers(f"{call.node.name}/shape", (1, *whole, filters))
    part = "" if whole == outputs else "whole"
    attributes: dict[str, Any] = {"stride": window.stride, "padding": padding, "activation": "NONE"}
    written = call.operate(
        "TRANSPOSE_CONV", (stated, kernel, image.tensor, bias), (1, *whole, filters), part, **attributes
    )
    if whole != outputs:
        begin, extent = (0, *_begins(pads), 0), (1, *outputs, filters)
        bounds = [
            call.graph.integers(f"{call.node.name}/{name}", v) for name, v in (("begin", begin), ("size", extent))
        ]
        written = call.operate("SLICE", (written, *bounds), extent, begin=begin, size=extent)
    return Activation(written, (1, filters, *outputs), NHWC)


def general_product(call: Call) -> Value:
    """Gemm of a vector: alpha A B + beta C with constant B and C, as a 1 x 1 CONV_2D."""
    vector, weights = call.activation(), _weights(call, 2, position=1)
    if call.node.attribute("transA", 0) or len(vector.shape) != 2:
        call.refuse("rows of values (1, channels) at its first input")
    if call.node.attribute("transB", 0):
        weights = _transposed(weights, (1, 0))
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
    weights = _weights(call, 2, position=1)
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
    kernel = _kernel(call, Constant(weights.array[..., None, None], weights.quantization), (1, 2, 3, 0))
    shift = call.graph.constant(f"{call.node.name}/bias", bias)
    attributes: dict[str, Any] = {"stride": (1, 1), "dilation": (1, 1), "padding": "SAME", "activation": "NONE"}
    written = call.operate("CONV_2D", (source, kernel, shift), result.physical_shape, **attributes)
    return replace(result, tensor=written)


# -- weights -----------------------------------------------------------------------------------------------------------


def _weights(call: Call, rank: int, position: int = 1) -> Constant:
    value = call.value(position)
    if not isinstance(value, Constant) or value.array.ndim != rank or value.array.size == 0:
        call.refuse(f"constant weights of rank {rank} at input {position}")
    if value.array.dtype.kind in "iub":
        call.refuse("real weights, or integers behind a DequantizeLinear")
    return value


def _kernel(call: Call, weights: Constant, order: tuple[int, ...]) -> int:
    moved = _transposed(weights, order)
    return call.graph.constant(f"{call.node.name}/kernel", moved.array, moved.quantization)


def _bias(call: Call, position: int, filters: int) -> int:
    values = call.optional(position, "a bias")
    if values is None:
        values = np.zeros(filters, np.float32)
    if values.size != filters:
        call.refuse(f"a bias for each of {filters} channels, not {list(values.shape)}")
    return call.graph.constant(f"{call.node.name}/bias", values.reshape(filters).astype(np.float32))


def _transposed(weights: Constant, order: tuple[int, ...]) -> Constant:
    kept = weights.quantization
    if kept is not None and kept.axis is not None:
        kept = Quantization(kept.scale, kept.zero_point, order.index(kept.axis))
    return Constant(weights.array.transpose(order), kept)


def _without_groups(weights: Constant, groups: int) -> Constant:
    """A kernel (in, out / groups, h, w) as one of all outputs, zero between the groups."""
    if groups == 1:
        return weights
    inputs, filters, *window = weights.shape
    wide = np.zeros((inputs, groups, filters, *window), np.float32)
    channel = np.arange(inputs)
    wide[channel, channel // (inputs // groups)] = weights.array
    return Constant(wide.reshape(inputs, groups * filters, *window))


def _without_dilation(weights: Constant, window: Window) -> Constant:
    if window.dilation == (1, 1):
        return weights
    wide = np.zeros((*weights.shape[:2], *window.reach), np.float32)
    wide[:, :, :: window.dilation[0], :: window.dilation[1]] = weights.array
    return Constant(wide, weights.quantization)


# -- paddings ----------------------------------------------------------------------------------------------------------


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


def _begins(pads: Pairs) -> tuple[int, int]:
    return pads[0][0], pads[1][0]


def _transposed_outputs(call: Call, window: Window, size: list[int]) -> tuple[tuple[int, int], Pairs]:
    """Output size and padding of a ConvTranspose (ONNX operators, ConvTranspose, `output_shape`)."""
    extra = call.node.attribute("output_padding", (0, 0))
    if len(extra) != 2 or not all(0 <= added <= MOST_EXTENT for added in extra):
        call.refuse(f"output_padding of rows and columns, not {list(extra)}")
    full = [
        stride * (inputs - 1) + added + reach
        for inputs, stride, added, reach in zip(size, window.stride, extra, window.reach, strict=True)
    ]
    mode, stated = call.node.attribute("auto_pad", "NOTSET"), call.node.attribute("output_shape")
    if stated is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        stated = tuple(inputs * stride for inputs, stride in zip(size, window.stride, strict=True))
    if stated is None:
        pads = stated_padding(call, window, size)
        rows, columns = (whole - sum(pair) for whole, pair in zip(full, pads, strict=True))
        return (rows, columns), pads
    totals = [whole - wanted for whole, wanted in zip(full, stated[-2:], strict=True)]
    if min(totals) < 0:
        call.refuse(f"an output_shape of at most {full}, not {list(stated)}")
    halves = [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in totals]
    return (stated[-2], stated[-1]), ((halves[0], totals[0] - halves[0]), (halves[1], totals[1] - halves[1]))


def _uncut(call: Call, reach: Window, size: list[int], outputs: tuple[int, int], pads: Pairs) -> tuple[int, int]:
    """Size of the output of VALID padding, out of which a SLICE takes `outputs` behind the padding."""
    whole = []
    for axis in (0, 1):
        least = reach.stride[axis] * (size[axis] - 1) + reach.size[axis]
        needed = max(least, _begins(pads)[axis] + outputs[axis])
        if window_outputs(needed, reach.size[axis], reach.stride[axis], 1, "VALID") != size[axis]:
            call.refuse(f"an output_padding below the strides {list(reach.stride)}")
        whole.append(needed)
    return whole[0], whole[1]
