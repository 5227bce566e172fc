"""Operators that change the shape of a value: mostly no operator of the file graph, but other axes of its tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_values import INSERTED, NHWC, Activation, Value, as_image, widened


def reshape(call: Call) -> Value:
    value = call.moved()
    stated = [int(size) for size in call.constant(1, "shape").reshape(-1)]
    if not call.node.attribute("allowzero", 0):
        stated = [value.shape[axis] if size == 0 else size for axis, size in enumerate(stated)]
    if -1 in stated:
        known = math.prod(size for size in stated if size != -1)
        stated[stated.index(-1)] = math.prod(value.shape) // known
    return reshaped(call, value, stated)


def flatten(call: Call) -> Value:
    value = call.moved()
    axis = call.node.attribute("axis", 1)
    axis = axis if axis == len(value.shape) else call.axis(axis, len(value.shape))
    return reshaped(call, value, (math.prod(value.shape[:axis]), math.prod(value.shape[axis:])))


def squeeze(call: Call) -> Value:
    value = call.moved()
    stated = call.integers(1, "axes")
    axes = [axis for axis, size in enumerate(value.shape) if size == 1]
    if stated is not None:
        axes = list(call.axes(stated, len(value.shape)))
    if any(value.shape[axis] != 1 for axis in axes):
        call.refuse(f"axes of size 1, not {axes} of {list(value.shape)}")
    return reshaped(call, value, [size for axis, size in enumerate(value.shape) if axis not in axes])


def unsqueeze(call: Call) -> Value:
    value = call.moved()
    stated = call.integers(1, "axes") or ()
    rank = len(value.shape) + len(stated)
    axes, sizes = call.axes(stated, rank), iter(value.shape)
    if len(axes) != len(stated):
        call.refuse(f"each axis once, not {list(stated)}")
    return reshaped(call, value, [1 if axis in axes else next(sizes) for axis in range(rank)])


def transpose(call: Call) -> Value:
    value = call.moved()
    rank = len(value.shape)
    order = tuple(call.node.attribute("perm", tuple(reversed(range(rank)))))
    if sorted(order) != list(range(rank)):
        call.refuse(f"a permutation of {rank} axes, not {list(order)}")
    axes = tuple(axis if axis == INSERTED else order.index(axis) for axis in value.axes)
    return replace(value, shape=tuple(value.shape[axis] for axis in order), axes=axes)


def expand(call: Call) -> Value:
    """Expand; a 1 x 1 image becomes one of any size by a RESIZE_BILINEAR."""
    value = call.activation()
    return _spread(call, np.broadcast_shapes(value.shape, tuple(call.constant(1, "shape").reshape(-1).tolist())))


def tile(call: Call) -> Value:
    """Tile of axes of size 1, as Expand."""
    value = call.activation()
    repeats = tuple(call.constant(1, "repeats").reshape(-1).tolist())
    if any(times != 1 and size != 1 for times, size in zip(repeats, value.shape, strict=True)):
        call.refuse("axes of size 1 where it repeats")
    return _spread(call, tuple(times * size for times, size in zip(repeats, value.shape, strict=True)))


def _spread(call: Call, shape: tuple[int, ...]) -> Value:
    value = widened(call.activation(), len(shape))
    if value.shape == shape:
        return value
    if len(shape) != 4 or value.shape[2:] != (1, 1) or value.shape[:2] != shape[:2] or shape[0] != 1:
        call.refuse(f"a 1 x 1 image that becomes larger, not {list(value.shape)} that becomes {list(shape)}")
    source = call.graph.arranged(value, NHWC, call.node.name)
    size = call.graph.integers(f"{call.node.name}/size", shape[2:])
    result = Activation(0, shape, NHWC)
    flags: dict[str, Any] = {"align_corners": False, "half_pixel_centers": True}
    return replace(result, tensor=call.operate("RESIZE_BILINEAR", (source, size), result.physical_shape, **flags))


def reshaped(call: Call, value: Activation, shape: Sequence[int]) -> Activation:
    """The value in another ONNX shape: by its axes alone where only axes of size 1 come and go, else by a RESHAPE,
    with a TRANSPOSE before it where axes that are joined are not side by side in the tensor."""
    shape = tuple(shape)
    if math.prod(shape) != math.prod(value.shape) or any(size < 1 for size in shape):
        call.refuse(f"as many values as {list(value.shape)} has, not {list(shape)}")
    blocks = _blocks(value.shape, shape)
    if all(len(old) == len(new) == 1 for old, new in blocks):
        renamed = {old[0]: new[0] for old, new in blocks}
        return replace(value, shape=shape, axes=tuple(renamed.get(axis, INSERTED) for axis in value.axes))
    ordered = sorted(blocks, key=lambda block: min(value.order.index(axis) for axis in block[0]))
    before = (INSERTED, *(axis for old, _ in ordered for axis in old))
    after = as_image((INSERTED, *(axis for _, new in ordered for axis in new)))
    source = replace(value, axes=before)
    moved = call.graph.arranged(value, before, call.node.name) if source.order != value.order else value.tensor
    result = Activation(0, shape, after, value.stored)
    written = call.graph.reshape(f"{call.node.name}/reshape", moved, result.physical_shape)
    return replace(result, tensor=written)


def _blocks(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Axes of more than one element, as few together as have the same number of elements before and after."""
    before = [axis for axis, size in enumerate(old) if size != 1]
    after = [axis for axis, size in enumerate(new) if size != 1]
    blocks = []
    while before:
        first, second = [before.pop(0)], [after.pop(0)]
        while (had := math.prod(old[axis] for axis in first)) != (has := math.prod(new[axis] for axis in second)):
            if had < has:
                first.append(before.pop(0))
            else:
                second.append(after.pop(0))
        blocks.append((first, second))
    return blocks
