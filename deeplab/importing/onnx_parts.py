"""Operators that join values, take parts of them, or put something around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_shapes import reshaped
from deeplab.importing.onnx_values import (
    Activation,
    Constant,
    Value,
    arranged_constant,
    as_image,
    common_axes,
    default_axes,
)
from evaluation.graph.slicing import MASKS

_MOST_RUNS = 64


def concat(call: Call) -> Value:
    values = [call.value(position) for position in range(len(call.inputs))]
    rank = len(values[0].shape)
    axis = call.axis(call.node.attribute("axis", 0), rank)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    if any(len(value.shape) != rank for value in values):
        call.refuse("inputs of one rank")
    return _joined(call, values, axis, tuple(shape))


def _joined(call: Call, values: Sequence[Value], axis: int, shape: tuple[int, ...]) -> Activation:
    if len(values) == 1 and isinstance(values[0], Activation):
        return values[0]
    axes = _joint_axes([value for value in values if isinstance(value, Activation)], axis, shape)
    tensors = []
    for place, value in enumerate(values):
        name = f"{call.node.name}/input{place}"
        if isinstance(value, Constant):
            tensors.append(call.graph.constant(name, arranged_constant(value.array, len(shape), axes)))
        else:
            tensors.append(call.graph.arranged(value, axes, name))
    result = Activation(0, shape, axes)
    attributes: dict[str, Any] = {"axis": axes.index(axis), "activation": "NONE"}
    return replace(result, tensor=call.operate("CONCATENATION", tensors, result.physical_shape, **attributes))


def _joint_axes(values: Sequence[Activation], axis: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The layout in which values are joined: with the axis last, as kernels join channels. Rows and columns of images
    that are NHWC are joined as they are."""
    default, common = default_axes(len(shape)), common_axes(values, shape, (axis,))
    if default[-1] == axis or common[-1] == axis:
        return default if default[-1] == axis else common
    if common == default:
        return common
    return as_image([*(other for other in range(len(shape)) if other != axis), axis])


def split(call: Call) -> tuple[Value, ...]:
    """Split: SPLIT into equal parts, else a SLICE for each."""
    value = call.activation()
    axis = call.axis(call.node.attribute("axis", 0), len(value.shape))
    count = len(call.node.definition.output)
    sizes = call.integers(1, "split")
    if sizes is None:
        each = -(-value.shape[axis] // count)
        sizes = tuple(min(each, value.shape[axis] - each * part) for part in range(count))
    if len(sizes) != count or sum(sizes) != value.shape[axis] or min(sizes) < 1:
        call.refuse(f"{count} parts of {value.shape[axis]}, not {list(sizes)}")
    if count == 1:
        return (value,)
    value = _naming(call, value, axis)
    if len(set(sizes)) > 1:
        begins = np.cumsum((0, *sizes))
        return tuple(
            _run(call, value, axis, int(begin), size, str(part))
            for part, (begin, size) in enumerate(zip(begins, sizes, strict=False))
        )
    place, shape = value.axes.index(axis), list(value.shape)
    shape[axis] = sizes[0]
    result = Activation(0, tuple(shape), value.axes)
    stated = call.graph.integers(f"{call.node.name}/axis", place)
    names = [name or f"{call.node.name}/part{part}" for part, name in enumerate(call.node.definition.output)]
    attributes: dict[str, Any] = {"axis": place, "num_splits": count}
    written = call.graph.operate(
        "SPLIT", call.node.name, (stated, value.tensor), [result.physical_shape] * count, names, attributes
    )
    return tuple(replace(result, tensor=tensor) for tensor in written)


def slice_(call: Call) -> Value:
    value = call.activation()
    rank = len(value.shape)
    starts, ends = (call.integers(position, name) for position, name in ((1, "starts"), (2, "ends")))
    axes, steps = call.integers(3, "axes"), call.integers(4, "steps")
    if starts is None or ends is None:
        call.refuse("starts and ends")
    axes = tuple(range(len(starts))) if axes is None else tuple(call.axis(axis, rank) for axis in axes)
    steps = steps or (1,) * len(starts)
    index = [slice(0, size, 1) for size in value.shape]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            call.refuse(f"steps of 1 and more, not {step}")
        index[axis] = slice(*slice(start, end, step).indices(value.shape[axis]))
    return _part(call, value, index)


def _part(call: Call, value: Activation, index: Sequence[slice], part: str = "") -> Activation:
    """The part of a value by slices of all its axes, with bounds that are in it and steps of at least 1."""
    shape = tuple(len(range(entry.start, entry.stop, entry.step)) for entry in index)
    if shape == value.shape:
        return value
    if not {axis for axis, size in enumerate(value.shape) if size != 1} <= set(value.axes):
        raise ValueError("a layout without all axes")
    place = [index[axis] if axis >= 0 else slice(0, 1, 1) for axis in value.axes]
    begin = tuple(entry.start for entry in place)
    result = Activation(0, shape, value.axes)
    size = result.physical_shape
    name = f"{call.node.name}/{part}" if part else call.node.name
    if all(entry.step == 1 for entry in place):
        bounds = [call.graph.integers(f"{name}/{what}", entry) for what, entry in (("begin", begin), ("size", size))]
        written = call.operate("SLICE", (value.tensor, *bounds), size, part, begin=begin, size=size)
        return replace(result, tensor=written)
    end, strides = tuple(entry.stop for entry in place), tuple(entry.step for entry in place)
    stated: dict[str, Any] = {"begin": begin, "end": end, "strides": strides}
    bounds = [call.graph.integers(f"{name}/{what}", entry) for what, entry in stated.items()]
    masks: dict[str, Any] = {f"{mask}_mask": 0 for mask in MASKS}
    return replace(result, tensor=call.operate("STRIDED_SLICE", (value.tensor, *bounds), size, part, **stated, **masks))


def gather(call: Call) -> Value:
    """Gather by constant indices: a SLICE for each run of neighbours, which are joined."""
    value, indices = call.activation(), call.constant(1, "indices")
    rank = len(value.shape)
    axis = call.axis(call.node.attribute("axis", 0), rank)
    taken = [int(place) + (value.shape[axis] if place < 0 else 0) for place in indices.reshape(-1)]
    if not taken or not all(0 <= place < value.shape[axis] for place in taken):
        call.refuse(f"indices below {value.shape[axis]}")
    runs = [[taken[0]]]
    for place in taken[1:]:
        if place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    if len(runs) > _MOST_RUNS:
        call.refuse(f"indices of at most {_MOST_RUNS} runs of neighbours")
    value = _naming(call, value, axis)
    parts = [
        _run(call, value, axis, run[0], len(run), "" if len(runs) == 1 else str(part)) for part, run in enumerate(runs)
    ]
    shape = list(value.shape)
    shape[axis] = len(taken)
    joined = _joined(call, parts, axis, tuple(shape))
    return reshaped(call, joined, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))


def _run(call: Call, value: Activation, axis: int, begin: int, size: int, part: str) -> Activation:
    index = [slice(0, extent, 1) for extent in value.shape]
    index[axis] = slice(begin, begin + size, 1)
    return _part(call, value, index, part)


def pad(call: Call) -> Value:
    """Pad: PAD, PADV2 or MIRROR_PAD; what is negative is taken off first."""
    value = call.activation()
    rank = len(value.shape)
    mode = call.node.attribute("mode", "constant")
    stated = call.integers(1, "pads")
    axes = call.integers(3, "axes")
    places = list(range(rank)) if axes is None else [call.axis(axis, rank) for axis in axes]
    if mode not in ("constant", "reflect") or stated is None or len(stated) != 2 * len(places):
        call.refuse(f"mode constant or reflect and pads of each axis, not {mode} and {list(stated or ())}")
    pairs = [(0, 0)] * rank
    for place, axis in enumerate(places):
        pairs[axis] = (stated[place], stated[place + len(places)])
    fill = call.optional(2, "a value")
    number = 0.0 if fill is None or not fill.size else float(fill.reshape(()))
    taken = [
        slice(max(0, -before), size - max(0, -after), 1)
        for (before, after), size in zip(pairs, value.shape, strict=True)
    ]
    added = [(max(0, before), max(0, after)) for before, after in pairs]
    needed = tuple(axis for axis, pair in enumerate(pairs) if any(pair))
    value = _naming(call, value, *needed)
    value = _part(call, value, taken, "crop" if any(map(any, added)) else "")
    if not any(map(any, added)):
        return value
    paddings = tuple((0, 0) if axis < 0 else added[axis] for axis in value.axes)
    shape = tuple(size + sum(pair) for size, pair in zip(value.shape, added, strict=True))
    result = Activation(0, shape, value.axes)
    inputs = [value.tensor, call.graph.integers(f"{call.node.name}/paddings", paddings)]
    kind = "PAD"
    attributes: dict[str, Any] = {"paddings": paddings}
    if mode == "reflect":
        kind, attributes["mode"] = "MIRROR_PAD", "REFLECT"
    elif number != 0.0:
        kind = "PADV2"
        inputs.append(call.graph.constant(f"{call.node.name}/fill", np.array(number, np.float32)))
    return replace(result, tensor=call.operate(kind, inputs, result.physical_shape, **attributes))


def _naming(call: Call, value: Activation, *axes: int) -> Activation:
    """The value in a layout that names some of its axes."""
    if set(axes) <= set(value.axes):
        return value
    default = default_axes(len(value.shape))
    return replace(value, tensor=call.graph.arranged(value, default, call.node.name), axes=default)
