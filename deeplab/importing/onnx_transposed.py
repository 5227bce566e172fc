"""ConvTranspose with constant weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_values import NHWC, Activation, Constant, Value
from deeplab.importing.onnx_weights import bias_of, constant_weights, kernel_of
from deeplab.importing.onnx_windows import Pairs, Window, stated_padding, window_of
from deeplab.network import MOST_EXTENT
from evaluation.graph.shape_rules import window_outputs

_MOST_WEIGHTS = 1 << 27
"""Elements of a kernel that is spread out: of groups, or with the zeros of a dilation."""


def transposed_convolution(call: Call) -> Value:
    """ConvTranspose: TRANSPOSE_CONV, with VALID padding and a SLICE behind it where the padding is not TFLite's SAME.

    Groups and dilations, which TFLite's has not, become zeros in the kernel.
    """
    image, weights = call.image(), constant_weights(call, 4)
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
    kernel, bias = kernel_of(call, spread, (1, 2, 3, 0)), bias_of(call, 2, filters)
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
