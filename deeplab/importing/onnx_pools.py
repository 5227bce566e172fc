"""Pools and reductions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_shapes import reshaped
from deeplab.importing.onnx_signs import is_not_negative
from deeplab.importing.onnx_values import NHWC, Activation, Value, default_axes
from deeplab.importing.onnx_windows import LEAST_FLOAT, Pairs, Window, is_same, padded, stated_padding, window_of


def max_pool(call: Call) -> Value:
    """MaxPool: MAX_POOL_2D. Padding that is not TFLite's SAME is a PAD with zeros where no value is below them, as
    behind a ReLU, else a PADV2 with the least float."""
    image, window, pads, _ = _pool(call)
    if is_same(window, image.shape[2:], pads):
        return _pooled(call, "MAX_POOL_2D", image.tensor, (1, *image.shape[2:], image.shape[1]), window, "SAME")
    fill = 0.0 if is_not_negative(call.graph, image.tensor) else LEAST_FLOAT
    tensor, shape = padded(call, image.tensor, image.physical_shape, pads, fill)
    return _pooled(call, "MAX_POOL_2D", tensor, shape, window, "VALID")


def average_pool(call: Call) -> Value:
    """AveragePool: AVERAGE_POOL_2D; a padding that counts as values is a PAD."""
    image, window, pads, beyond = _pool(call)
    if not any(map(any, pads)) or (call.node.attribute("count_include_pad", 0) and not any(beyond)):
        tensor, shape = padded(call, image.tensor, image.physical_shape, pads)
        return _pooled(call, "AVERAGE_POOL_2D", tensor, shape, window, "VALID")
    if call.node.attribute("count_include_pad", 0) or not is_same(window, image.shape[2:], pads):
        call.refuse("count_include_pad without ceil_mode, or padding as of auto_pad SAME_UPPER")
    return _pooled(call, "AVERAGE_POOL_2D", image.tensor, image.physical_shape, window, "SAME")


def global_pool(call: Call, kind: str) -> Value:
    """GlobalAveragePool and GlobalMaxPool as a pool over all of the image."""
    image = call.image()
    window = Window((image.shape[2], image.shape[3]), (1, 1), (1, 1))
    return _pooled(call, kind, image.tensor, image.physical_shape, window, "VALID")


def reduction(call: Call, kind: str) -> Value:
    """ReduceMean, ReduceSum, ReduceMax and ReduceMin. The tensor keeps its axes, so that what is reduced over rows and
    columns stays an image of 1 x 1."""
    value = call.activation()
    rank = len(value.shape)
    stated = call.integers(1, "axes")
    if not stated and call.node.attribute("noop_with_empty_axes", 0):
        return value
    axes = call.axes(stated or range(rank), rank)
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(value.shape))
    if not set(axes) <= set(value.axes):
        default = default_axes(rank)
        value = replace(value, tensor=call.graph.arranged(value, default, call.node.name), axes=default)
    places = tuple(place for place, axis in enumerate(value.axes) if axis in axes)
    stated_axes = call.graph.integers(f"{call.node.name}/axes", places)
    result = Activation(0, kept, value.axes)
    attributes: dict[str, Any] = {"axes": places, "keep_dims": True}
    written = call.operate(kind, (value.tensor, stated_axes), result.physical_shape, **attributes)
    result = replace(result, tensor=written)
    if call.node.attribute("keepdims", 1):
        return result
    return reshaped(call, result, tuple(size for axis, size in enumerate(kept) if axis not in axes))


def _pool(call: Call) -> tuple[Activation, Window, Pairs, tuple[int, int]]:
    """(image, window, padding, what `ceil_mode` adds to the padding at the end of rows and columns)."""
    image = call.image()
    window = window_of(call, call.node.attribute("kernel_shape", ()))
    if window.dilation != (1, 1):
        call.refuse(f"a pool without dilations, not {list(window.dilation)}")
    if len(call.node.definition.output) > 1 and call.node.definition.output[1]:
        call.refuse("a pool of one output, without indices")
    pads = stated_padding(call, window, image.shape[2:])
    beyond = (0, 0)
    if call.node.attribute("ceil_mode", 0):
        rows, columns = (
            _beyond(size, pair, reach, stride)
            for size, pair, reach, stride in zip(image.shape[2:], pads, window.size, window.stride, strict=True)
        )
        beyond = rows, columns
        pads = (pads[0][0], pads[0][1] + rows), (pads[1][0], pads[1][1] + columns)
    return image, window, pads, beyond


def _beyond(size: int, pads: tuple[int, int], reach: int, stride: int) -> int:
    """Positions past the padding that the last window reaches when outputs are rounded up. A window that would begin in
    the padding at the end is none (ONNX operators, MaxPool since opset 22, and PyTorch)."""
    outputs = -(-(size + sum(pads) - reach) // stride) + 1
    if (outputs - 1) * stride >= size + pads[0]:
        outputs -= 1
    return max((outputs - 1) * stride + reach - size - sum(pads), 0)


def _pooled(call: Call, kind: str, tensor: int, shape: tuple[int, ...], window: Window, padding: str) -> Value:
    rows, columns = window.outputs(shape[1:3], padding)
    attributes: dict[str, Any] = {
        "filter": window.size,
        "stride": window.stride,
        "padding": padding,
        "activation": "NONE",
    }
    written = call.operate(kind, (tensor,), (1, rows, columns, shape[3]), **attributes)
    return Activation(written, (1, shape[3], rows, columns), NHWC)
