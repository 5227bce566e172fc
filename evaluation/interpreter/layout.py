"""Data-movement operators (concatenation, padding, slices, blocks, changes of shape), and ARG_MAX."""

from __future__ import annotations

from types import EllipsisType

import numpy as np

from evaluation.errors import UserError
from evaluation.graph import Operator, Tensor
from evaluation.graph.regions import Region, extent
from evaluation.graph.slicing import strided_index
from evaluation.interpreter.patch import PatchCall, Values
from evaluation.interpreter.requantize import (
    Integers,
    integer_range,
    multiply,
    quantize_multiplier,
    round_half_away,
    scale_of,
    zero_point_of,
)


def concatenation(call: PatchCall) -> Values:
    """CONCATENATION along the channels; inputs are requantized to the output's scale and zero point."""
    call.require_channels_last()
    axis = call.operator.attributes["axis"] % len(call.output.shape)
    if axis != len(call.output.shape) - 1:
        raise UserError(f"{call.operator.name}: CONCATENATION along axis {axis} cannot be run, only along channels")
    parts = [patch for patch in call.patches if patch is not None]
    if len(parts) != len(call.patches):
        raise UserError(
            f"{call.operator.name}: CONCATENATION with a constant cannot be run; export the network without one"
        )
    return np.concatenate([_requantized(call, part.tensor, part.rectangle(call.region, 0)) for part in parts], axis=2)


def pad(call: PatchCall) -> Values:
    """PAD of rows and columns with real zero (the zero point); PADV2 with a constant."""
    paddings = call.required_constant(1)
    if len(call.output.shape) != 4 or paddings[[0, 3]].any():
        raise UserError(f"{call.operator.name}: PAD can be run along rows and columns only")
    fill: float = 0 if call.output.dtype == "float32" else zero_point_of(call.output)
    if call.operator.kind == "PADV2":
        fill = call.required_constant(2).reshape(-1)[0]
    (top, left), region, source = paddings[1:3, 0].tolist(), call.region, call.first
    wanted = Region(region.top - top, region.bottom - top, region.left - left, region.right - left)
    rows, columns, channels = extent(source.tensor)
    if wanted.bottom <= 0 or wanted.top >= rows or wanted.right <= 0 or wanted.left >= columns:  # only padding
        return np.full((region.rows, region.columns, channels), fill, source.values.dtype)
    return source.rectangle(wanted, fill)


def mirror_pad(call: PatchCall) -> Values:
    """MIRROR_PAD of a whole tensor; SYMMETRIC repeats the border, REFLECT does not."""
    _require_whole(call)
    mode = call.operator.attributes["mode"].lower()
    paddings = call.required_constant(1).astype(np.int64)
    return np.pad(_as_shaped(call), paddings, mode=mode).reshape(extent(call.output))


def part(call: PatchCall) -> Values:
    """SLICE and STRIDED_SLICE of a whole tensor."""
    _require_whole(call)
    return _as_shaped(call)[_slices(call.operator)].reshape(extent(call.output))


def depth_to_space(call: PatchCall) -> Values:
    """DEPTH_TO_SPACE: channel (y * block + x) * C + c becomes channel c of pixel (y, x) of a block."""
    block, region = call.operator.attributes["block_size"], call.region
    top, left = region.top // block, region.left // block
    inside = Region(top, -(-region.bottom // block), left, -(-region.right // block))
    values = call.first.rectangle(inside, 0)
    blocks = values.reshape(inside.rows, inside.columns, block, block, -1).transpose(0, 2, 1, 3, 4)
    pixels = blocks.reshape(inside.rows * block, inside.columns * block, -1)
    row, column = region.top - top * block, region.left - left * block
    return pixels[row : row + region.rows, column : column + region.columns]


def space_to_depth(call: PatchCall) -> Values:
    """SPACE_TO_DEPTH, the inverse of DEPTH_TO_SPACE."""
    block, region = call.operator.attributes["block_size"], call.region
    inside = Region(region.top * block, region.bottom * block, region.left * block, region.right * block)
    values = call.first.rectangle(inside, 0)
    blocks = values.reshape(region.rows, block, region.columns, block, -1).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(region.rows, region.columns, -1)


def reshape(call: PatchCall) -> Values:
    """RESHAPE, SQUEEZE and EXPAND_DIMS of a whole tensor."""
    _require_whole(call)
    return call.first.values.reshape(extent(call.output))


def transpose(call: PatchCall) -> Values:
    """TRANSPOSE of a whole tensor."""
    _require_whole(call)
    order = call.required_constant(1).reshape(-1)
    return call.first.values.reshape(call.first.tensor.shape).transpose(order).reshape(extent(call.output))


def argmax(call: PatchCall) -> Values:
    """ARG_MAX over the channels; ties go to the first class."""
    call.require_channels_last()
    source = call.first.tensor
    if call.operator.attributes["axis"] % len(source.shape) != len(source.shape) - 1:
        raise UserError(f"{call.operator.name}: ARG_MAX can be run along the last axis only")
    if len(source.shape) != 4:  # one vector, one class
        classes: Integers = np.argmax(call.first.values, axis=2)
        return classes.reshape(extent(call.output))
    classes = np.argmax(call.first.rectangle(call.region, 0), axis=2)
    return classes[..., np.newaxis]


def _requantized(call: PatchCall, source: Tensor, values: Values) -> Values:
    output = call.output
    if output.dtype == "float32":
        return values
    same = scale_of(source) == scale_of(output) and zero_point_of(source) == zero_point_of(output)
    if same:
        return values
    if output.dtype != "uint8":
        # TFLite requires equal quantization; where it differs, each input is requantized as by QUANTIZE.
        ratio = float(scale_of(source)) / float(scale_of(output))
        scaled = multiply(values.astype(np.int64) - zero_point_of(source), *quantize_multiplier(ratio))
        return np.clip(scaled + zero_point_of(output), *integer_range(output))
    scale = scale_of(source) * (np.float32(1.0) / scale_of(output))
    offset = np.float32(-zero_point_of(source)) * scale
    quantized = round_half_away(values.astype(np.float32) * scale + offset).astype(np.int64) + zero_point_of(output)
    return np.clip(quantized, *integer_range(output))


def _as_shaped(call: PatchCall) -> Values:
    return call.first.values.reshape(call.first.tensor.shape)


def _slices(operator: Operator) -> tuple[slice | int | EllipsisType | None, ...]:
    """The NumPy index of SLICE or STRIDED_SLICE."""
    if operator.kind == "STRIDED_SLICE":
        return strided_index(operator.attributes)
    sizes = zip(operator.attributes["begin"], operator.attributes["size"], strict=True)
    return tuple(slice(begin, None if size == -1 else begin + size) for begin, size in sizes)


def _require_whole(call: PatchCall) -> None:
    rows, columns, _ = extent(call.output)
    if (call.region.rows, call.region.columns) != (rows, columns):
        raise ValueError(f"{call.operator.name}: {call.operator.kind} cannot be tiled")
