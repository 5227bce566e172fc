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
    """ConvTranspose: TRANSPOSE_CONV.

    Groups and dilations, which TFLite's has not, become zeros in the kernel. So does padding of another kind than
    TFLite's SAME, by taps behind the others; only where none do, a SLICE takes the output out of that of VALID padding.
    """
    image, weights = call.image(), constant_weights(call, 4)
    channels, size = image.shape[1], (image.shape[2], image.shape[3])
    groups = call.node.attribute("group", 1)
    if groups < 1 or channels != weights.shape[0] or channels % groups:
        call.refuse(f"weights for {channels} channels in {groups} groups, not {list(weights.shape)}")
    window = window_of(call, weights.shape[2:])
    outputs, pads = _outputs(call, window, size)
    begin = pads[0][0], pads[1][0]
    is_valid = begin == (0, 0) and Window(window.reach, window.stride, (1, 1)).outputs(outputs, "VALID") == size
    reach = window.reach if is_valid else _reach_for_same(window, size, outputs, begin)
    whole = outputs if is_valid or reach is not None else _uncut(call, window, size, outputs, begin)
    kernel = _spread(call, weights, window, groups, reach or window.reach)
    filters = kernel.shape[1]
    stated = call.graph.integers(f"{call.node.name}/shape", (1, *whole, filters))
    inputs = (stated, kernel_of(call, kernel, (1, 2, 3, 0)), image.tensor, bias_of(call, 2, filters))
    padding = "SAME" if reach is not None and not is_valid else "VALID"
    attributes: dict[str, Any] = {"stride": window.stride, "padding": padding, "activation": "NONE"}
    part = "" if whole == outputs else "whole"
    written = call.operate("TRANSPOSE_CONV", inputs, (1, *whole, filters), part, **attributes)
    if whole != outputs:
        taken: dict[str, Any] = {"begin": (0, *begin, 0), "size": (1, *outputs, filters)}
        bounds = [call.graph.integers(f"{call.node.name}/{name}", values) for name, values in taken.items()]
        written = call.operate("SLICE", (written, *bounds), taken["size"], **taken)
    return Activation(written, (1, filters, *outputs), NHWC)


def _spread(call: Call, weights: Constant, window: Window, groups: int, reach: tuple[int, int]) -> Constant:
    """A kernel (in, out / groups, h, w) without dilation and groups, with zeros behind it up to a reach."""
    inputs, filters, *_ = weights.shape
    if inputs * filters * groups * reach[0] * reach[1] > _MOST_WEIGHTS:
        call.refuse(f"a kernel of at most {_MOST_WEIGHTS:,} weights without groups and dilations")
    rows, columns = (slice(0, extent, step) for extent, step in zip(window.reach, window.dilation, strict=True))
    wide = np.zeros((inputs, groups, filters, *reach), np.float32)
    channel = np.arange(inputs)
    wide[channel, channel // (inputs // groups), :, rows, columns] = weights.array
    return Constant(wide.reshape(inputs, groups * filters, *reach), weights.quantization if groups == 1 else None)


def _outputs(call: Call, window: Window, size: tuple[int, int]) -> tuple[tuple[int, int], Pairs]:
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


def _reach_for_same(
    window: Window, size: tuple[int, int], outputs: tuple[int, int], begin: tuple[int, int]
) -> tuple[int, int] | None:
    """Rows and columns of a kernel, at least those of the window, for which SAME pads as many before as `begin`."""
    found = []
    for axis in (0, 1):
        stride = window.stride[axis]
        # SAME pads (inputs - 1) stride + reach - outputs in all, half of it before.
        least = outputs[axis] - (size[axis] - 1) * stride + 2 * begin[axis]
        fitting = [reach for reach in (least, least + 1) if reach >= window.reach[axis]]
        if not fitting or -(-outputs[axis] // stride) != size[axis]:
            return None
        found.append(fitting[0])
    return found[0], found[1]


def _uncut(
    call: Call, window: Window, size: tuple[int, int], outputs: tuple[int, int], begin: tuple[int, int]
) -> tuple[int, int]:
    """Size of the output of VALID padding, out of which a SLICE takes `outputs` behind the padding."""
    whole = []
    for axis in (0, 1):
        stride, reach = window.stride[axis], window.reach[axis]
        needed = max(stride * (size[axis] - 1) + reach, begin[axis] + outputs[axis])
        if window_outputs(needed, reach, stride, 1, "VALID") != size[axis]:
            call.refuse(f"an output_padding below the strides {list(window.stride)}")
        whole.append(needed)
    return whole[0], whole[1]
