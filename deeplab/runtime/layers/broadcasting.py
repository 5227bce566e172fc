"""Descriptors of element-wise operators of two operands with broadcasting, on 8-bit values and on up to 16 bits."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from evaluation.graph import Tensor
from evaluation.graph.regions import extent
from evaluation.interpreter.elementwise import ADD_LEFT_SHIFT, SQUARE_LEFT_SHIFT
from evaluation.interpreter.packing import pack_rows
from evaluation.interpreter.requantize import (
    activation_range,
    integer_range,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)
from evaluation.kernels.descriptors import int8, low_bit
from evaluation.kernels.descriptors.int8 import BroadcastAxis, BroadcastKind

KINDS = {
    "ADD": BroadcastKind.BINARY_ADD,
    "SUB": BroadcastKind.BINARY_SUB,
    "MUL": BroadcastKind.BINARY_MUL,
    "MINIMUM": BroadcastKind.BINARY_MINIMUM,
    "MAXIMUM": BroadcastKind.BINARY_MAXIMUM,
    "PRELU": BroadcastKind.BINARY_PRELU,
    "SQUARED_DIFFERENCE": BroadcastKind.BINARY_SQUARED_DIFFERENCE,
}
_AXES = (BroadcastAxis.MOVES_ROWS, BroadcastAxis.MOVES_COLUMNS, BroadcastAxis.MOVES_CHANNELS)


def broadcast(site: KernelSite) -> Fields:
    """ADD, SUB, MUL, MINIMUM, MAXIMUM, PRELU or SQUARED_DIFFERENCE."""
    kind, output = site.operator.kind, site.output
    operands = site.required_tensor(0), site.required_tensor(1)
    lowest, highest = integer_range(output)
    if kind in ("ADD", "SUB", "MUL"):
        lowest, highest = activation_range(site.operator.attributes.get("activation", "NONE"), output)
    multipliers = [quantize_multiplier(real) for real in _ratios(kind, *operands, output)]
    multipliers += [(0, 0)] * (3 - len(multipliers))
    is_choice = kind in ("MINIMUM", "MAXIMUM")
    fields: Fields = {
        "left": _constant(site, 0),
        "right": _constant(site, 1),
        "multipliers": tuple(mantissa for mantissa, _ in multipliers),
        "shifts": tuple(exponent for _, exponent in multipliers),
        "zeros": (0, 0, 0) if is_choice else tuple(zero_point_of(t) for t in (*operands, output)),
        "channels": extent(output)[2],
        "columns": extent(output)[1],
        "lowest": lowest,
        "highest": highest,
        "moves": tuple(_moves(site, tensor) for tensor in operands),
        "kind": KINDS[kind],
        "is_unsigned": output.dtype == "uint8",
    }
    return fields


def low_bit_broadcast(site: KernelSite) -> Fields:
    """The same operators on values of up to 16 bits."""
    if site.operator.kind == "LEAKY_RELU":
        return _leaky_relu(site)
    fields: Fields = {f"plain.{name}": value for name, value in broadcast(site).items()}
    operands = site.required_tensor(0), site.required_tensor(1)
    for tensor in operands:
        rows, columns, channels = extent(tensor)
        is_simple = tensor.is_constant or len(tensor.shape) == len(site.output.shape)
        if tensor.bits < 8 and not is_simple and rows > 1 and columns * channels * tensor.bits % 8:
            raise site.refused(
                f"{tensor.name} of shape {tensor.shape} has rows that end inside a byte; give it the output's axes"
            )
    fields["bits"] = tuple(tensor.bits for tensor in operands)
    fields["left_shift"] = ADD_LEFT_SHIFT[16 if site.output.dtype == "int16" else 8]
    return fields


FILLERS: Fillers = {int8.BROADCAST: broadcast, low_bit.BROADCAST: low_bit_broadcast}


def _leaky_relu(site: KernelSite) -> Fields:
    """LEAKY_RELU of int16: PRELU with a slope of 1, whose multiplier below 0 is alpha's."""
    source, output = site.source, site.output
    slope = float(scale_of(source) * np.float32(site.operator.attributes["alpha"]) / scale_of(output))
    if slope < 0:
        raise site.refused("a negative alpha cannot be run")
    pairs = [quantize_multiplier(real) for real in (float(scale_of(source) / scale_of(output)), slope)]
    every = sum(_AXES)
    lowest, highest = integer_range(output)
    return {
        "plain.right": Constant(f"table_{site.number}", np.ones(1, np.int16).view(np.uint8)),
        "plain.multipliers": (*(mantissa for mantissa, _ in pairs), 0),
        "plain.shifts": (*(exponent for _, exponent in pairs), 0),
        "plain.channels": extent(output)[2],
        "plain.columns": extent(output)[1],
        "plain.lowest": lowest,
        "plain.highest": highest,
        "plain.moves": (every, 0),
        "plain.kind": BroadcastKind.BINARY_PRELU,
        "bits": (16, 16),
    }


def _ratios(kind: str, a: Tensor, b: Tensor, output: Tensor) -> list[float]:
    """The real multipliers of an operator, as `evaluation.interpreter.elementwise` has them."""
    if kind in ("ADD", "SUB", "SQUARED_DIFFERENCE"):
        twice_largest = 2.0 * max(float(scale_of(a)), float(scale_of(b)))
        left_shift = ADD_LEFT_SHIFT[16 if output.dtype == "int16" else 8]
        result = twice_largest / ((1 << left_shift) * float(scale_of(output)))
        if kind == "SQUARED_DIFFERENCE":
            result = twice_largest * twice_largest / ((1 << SQUARE_LEFT_SHIFT * 2) * float(scale_of(output)))
        return [float(scale_of(a)) / twice_largest, float(scale_of(b)) / twice_largest, result]
    if kind == "MUL":
        return [float(scale_of(a)) * float(scale_of(b)) / float(scale_of(output))]
    if kind == "PRELU":
        return [float(scale_of(a) / scale_of(output)), float(scale_of(a) * scale_of(b) / scale_of(output))]
    return []


def _constant(site: KernelSite, position: int) -> Constant | None:
    tensor = site.required_tensor(position)
    if not tensor.is_constant:
        return None
    values = site.required_constant(position).reshape(-1)
    stored = values.view(np.uint8) if tensor.bits >= 8 else pack_rows(values[np.newaxis], tensor.bits)[0]
    return Constant(site.name_of("operand", position), stored)


def _moves(site: KernelSite, tensor: Tensor) -> int:
    """Bits of `BroadcastAxis` for an operand; axes of size 1 are broadcast."""
    output = site.output
    shape = extent(tensor)
    if len(tensor.shape) < len(output.shape) == 4:  # axes are matched from the last one
        rows, columns, channels = ((1,) * 3 + tensor.shape)[-3:]
        shape = rows, columns, channels
    if any(size not in (1, whole) for size, whole in zip(shape, extent(output), strict=True)):
        raise site.refused(f"{tensor.name} of shape {tensor.shape} does not fit the output of {output.shape}")
    moves = sum(bit for bit, size in zip(_AXES, shape, strict=True) if size > 1)
    return moves | (BroadcastAxis.HAS_OTHER_AXES if shape != extent(tensor) else 0)
