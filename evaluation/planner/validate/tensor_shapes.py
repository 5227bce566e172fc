"""The validator's own reading of tensors: their rows, columns and channels, and which concatenations only put bytes
side by side."""

from __future__ import annotations

import math

import numpy as np

from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.regions import Region
from evaluation.planner.ir.steps import Buffer, Role

RESIDENT = frozenset({Role.FRAME, Role.EXTERNAL_FRAME, Role.ACTIVATION, Role.LABELS})
"""Roles whose tensors may live in chunks of rows."""
WORKING = frozenset({Role.SCRATCH, Role.ACCUMULATOR})
"""Roles that hold no tensor."""


def rows_columns_channels(tensor: Tensor) -> tuple[int, int, int]:
    """(rows, columns, channels): (1, H, W, C) as it is; (1, H, W) with one channel; all else one row of one column."""
    shape = tensor.shape
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    if len(shape) == 3:
        return shape[1], shape[2], 1
    return 1, 1, math.prod(shape)


def whole(tensor: Tensor) -> Region:
    rows, columns, _ = rows_columns_channels(tensor)
    return Region(0, rows, 0, columns)


def row_bytes(graph: Graph, buffer: Buffer, label_bytes: int) -> int:
    """Bytes from one row of a buffer to the next."""
    if buffer.role is Role.LABELS:
        return buffer.required_region.columns * label_bytes
    host = graph.tensors[buffer.tensors[0]]
    return math.ceil(buffer.required_region.columns * rows_columns_channels(host)[2] * host.bits / 8)


def operands_of(graph: Graph, operator: Operator) -> list[int]:
    """Positions of the operator's inputs that are there and not constant."""
    return [i for i, tensor in enumerate(operator.inputs) if tensor >= 0 and not graph.tensors[tensor].is_constant]


def puts_side_by_side(graph: Graph, operator: Operator) -> bool:
    """Whether a CONCATENATION's output is its inputs' bytes in channel slices: nothing is converted or clamped."""
    if operator.kind != "CONCATENATION" or operator.attributes.get("activation", "NONE") != "NONE":
        return False
    output = graph.tensors[operator.outputs[0]]
    if len(output.shape) != 4 or operator.attributes["axis"] != 3:
        return False
    return all(index >= 0 and _same_values(graph.tensors[index], output) for index in operator.inputs)


def _same_values(one: Tensor, other: Tensor) -> bool:
    """Whether equal quantized values of the two activations are equal numbers."""
    if one.is_constant or (one.dtype, one.bits) != (other.dtype, other.bits):
        return False
    if one.quantization is None or other.quantization is None:
        return one.quantization is None and other.quantization is None
    return bool(
        np.array_equal(one.quantization.scale, other.quantization.scale)
        and np.array_equal(one.quantization.zero_point, other.quantization.zero_point)
    )
