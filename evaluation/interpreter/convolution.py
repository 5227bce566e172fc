"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED, integer and float.

Integer: sum((x - zero_point_x) * (w - zero_point_w)) + bias, requantized per output channel. The sum is a float64
matrix product. The magnitude of each product is at most 2**16 * 2**16, so partial sums of up to 2**21 terms are within
2**53 and therefore exact, in whatever order BLAS adds. The largest kernel of a DeepLab has 2**12 terms.

Float: products are added in float32, tap by tap and channel by channel, as in the reference. The order of BLAS depends
on the number of rows, so that tiling would change results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError
from evaluation.graph import Tensor
from evaluation.interpreter.packing import pack_rows, unpack_rows
from evaluation.interpreter.patch import PatchCall, Values
from evaluation.interpreter.requantize import (
    Integers,
    activation_range,
    clamp_real,
    multiply,
    multiply_once,
    multiply_wide,
    quantization_of,
    quantize_multipliers,
    zero_point_of,
    zero_points_of,
)
from evaluation.interpreter.window import taps, window_of

PIXELS_AT_ONCE = 256
"""Rows that are computed together, so that working values stay in cache; results do not depend on it."""

Rounding = Callable[[Integers, Integers, Integers], Integers]
"""Requantizes accumulators by mantissas and exponents."""


def convolution(call: PatchCall) -> Values:
    """CONV_2D over a region; weights (out, filter rows, filter columns, in / groups)."""
    weights = weights_of(call)
    window = window_of(call, weights.shape[1:3])
    needed = window.needs(call.region)
    channels_in, channels_out = call.first.values.shape[2], weights.shape[0]
    groups, depth = channels_in // weights.shape[3], weights.shape[3]
    pixels, windows = call.region.rows * call.region.columns, [tap for _, _, tap in taps(window, call.region)]

    def columns(rectangle: Values, group: int) -> Values:
        """The im2col matrix of a group's channels, (pixels, taps * depth)."""
        channels = rectangle[..., group * depth : (group + 1) * depth]
        return np.concatenate([channels[tap].reshape(pixels, depth) for tap in windows], axis=1)

    if call.output.dtype == "float32":
        reals, kernels = call.first.rectangle(needed, 0.0), weights.reshape(groups, channels_out // groups, -1)
        sums = [_ordered_product(columns(reals, group), kernels[group]) for group in range(groups)]
        return finish_float(call, np.concatenate(sums, axis=1))
    zero_points = zero_points_of(call.first.tensor)
    rectangle = call.first.rectangle(needed, zero_points).astype(np.float64) - zero_points
    matrices = call.once(
        "matrices", lambda: weights.reshape(groups, channels_out // groups, -1).swapaxes(1, 2).astype(np.float64)
    )
    return finish_integer(
        call, np.concatenate([columns(rectangle, group) @ matrices[group] for group in range(groups)], axis=1)
    )


def depthwise_convolution(call: PatchCall) -> Values:
    """DEPTHWISE_CONV_2D over a region; weights (1, filter rows, filter columns, in * depth multiplier)."""
    weights = weights_of(call)
    window = window_of(call, weights.shape[1:3])
    needed = window.needs(call.region)
    is_float = call.output.dtype == "float32"
    zero_point = 0 if is_float else zero_point_of(call.first.tensor)
    dtype: type[np.number[Any]] = np.float32
    if not is_float:
        dtype = np.int64 if call.first.tensor.bits == 16 else np.int32
    rectangle = call.first.rectangle(needed, zero_point).astype(dtype) - zero_point
    # Output channel i * multiplier + j is computed from input channel i.
    rectangle = np.repeat(rectangle, weights.shape[3] // rectangle.shape[2], axis=2)
    total: Values = np.zeros((call.region.rows, call.region.columns, weights.shape[3]), dtype)
    for y, x, tap in taps(window, call.region):
        total += rectangle[tap] * weights[0, y, x].astype(dtype)
    total = total.reshape(-1, weights.shape[3])
    return finish_float(call, total) if is_float else finish_integer(call, total)


def fully_connected(call: PatchCall) -> Values:
    """FULLY_CONNECTED of a whole tensor as rows of the weights' length; weights (out, in)."""
    weights = weights_of(call)
    rows = call.first.values.reshape(-1, weights.shape[1])
    if call.output.dtype == "float32":
        return finish_float(call, _ordered_product(rows, weights))
    centred = rows.astype(np.float64) - zero_point_of(call.first.tensor)
    return finish_integer(call, centred @ weights.T.astype(np.float64))


def effective_scales(kind: str, source: Tensor, weights: Tensor, output: Tensor) -> npt.NDArray[np.float64]:
    """s_input * s_weights / s_output, float64 (output channels,) or (1,), in the reference's order of operations.

    With one scale for all channels (FULLY_CONNECTED, uint8 networks) the reference rounds the product to float32.
    """
    scale_in, scales = quantization_of(source).scale[:1], quantization_of(weights).scale
    is_single = len(scales) == 1 and (kind == "FULLY_CONNECTED" or output.dtype == "uint8")
    product = scale_in * scales if is_single else scale_in.astype(np.float64) * scales.astype(np.float64)
    return product.astype(np.float64) / np.float64(quantization_of(output).scale[0])


def _scales(call: PatchCall) -> npt.NDArray[np.float64]:
    return effective_scales(call.operator.kind, call.first.tensor, call.required_tensor(1), call.output)


def _rounding(call: PatchCall) -> Rounding:
    """The rounding with which the reference requantizes the accumulators.

    LiteRT 2.3 rounds an int8 FULLY_CONNECTED once, TFLM twice; about 1 % of the outputs differ by 1. This follows
    LiteRT. Convolutions are equal in both.
    """
    if call.first.tensor.dtype == "int16":
        return multiply_wide
    if call.operator.kind == "FULLY_CONNECTED" and call.first.tensor.dtype == "int8":
        return multiply_once
    return multiply


def weights_of(call: PatchCall) -> Values:
    """Weights less their zero points (non-zero in uint8 networks only), computed at the first tile.

    Packed weights are unpacked into scratch in every tile; tiles after the first write only the first rows there.
    """
    weights = call.once("weights", lambda: _prepared_weights(call))
    if call.unpacked[0]:
        _through_scratch(call, _rows_of_weights(call)[: call.unpacked[0]])
    return weights


def _prepared_weights(call: PatchCall) -> Values:
    data = _unpacked(call) if call.unpacked[0] else call.required_constant(1)
    if call.output.dtype == "float32":
        if data.dtype != np.float32:
            raise UserError(f"{call.operator.name}: float activations with {data.dtype} weights; quantize both or none")
        return data
    zero_points = quantization_of(call.required_tensor(1)).zero_point
    if np.ptp(zero_points) != 0:
        raise UserError(f"{call.operator.name}: weight zero points differ by channel; quantize symmetrically")
    return data.astype(np.int32) - np.int32(zero_points[0])


def _unpacked(call: PatchCall) -> Values:
    """The weights, unpacked into scratch and read back, some output channels at a time."""
    tensor, rows, together = call.required_tensor(1), _rows_of_weights(call), call.unpacked[0]
    kept = np.empty_like(rows)
    for first in range(0, len(rows), together):
        some = rows[first : first + together]
        if tensor.bits < 8:
            flat = some.reshape(len(some), -1)
            some = unpack_rows(pack_rows(flat, tensor.bits), tensor.bits, flat.shape[1], tensor.dtype)
        kept[first : first + together] = _through_scratch(call, some).reshape(-1, *rows.shape[1:])
    return np.moveaxis(kept, 0, -1) if call.operator.kind == "DEPTHWISE_CONV_2D" else kept


def _through_scratch(call: PatchCall, rows: Values) -> Values:
    """Rows of weights (output channels, ...), written to scratch and read back, (output channels, values)."""
    flat = rows.reshape(len(rows), -1)
    filled = np.zeros((len(rows), call.unpacked[1]), rows.dtype)
    filled[:, : flat.shape[1]] = flat
    return call.keep(filled)[:, : flat.shape[1]]


def _rows_of_weights(call: PatchCall) -> Values:
    """The weights with the output channels first, (output channels, ...)."""
    weights = call.required_constant(1)
    return np.moveaxis(weights, -1, 0) if call.operator.kind == "DEPTHWISE_CONV_2D" else weights


def _ordered_product(rows: Values, weights: Values) -> npt.NDArray[np.float32]:
    """rows (n, k) times transposed weights (m, k), float32 (n, m), added in the order of k."""
    transposed = np.ascontiguousarray(weights.T)
    total = np.zeros((rows.shape[0], weights.shape[0]), np.float32)
    product = np.empty_like(total[:PIXELS_AT_ONCE])
    for start in range(0, rows.shape[0], PIXELS_AT_ONCE):
        columns = np.ascontiguousarray(rows[start : start + PIXELS_AT_ONCE].T)
        block = total[start : start + PIXELS_AT_ONCE]
        for column, row in zip(columns, transposed, strict=True):
            block += np.multiply(column[:, np.newaxis], row, out=product[: len(block)])
    return total


def finish_float(call: PatchCall, total: Values, *, bias_at: int = 2) -> Values:
    """Add bias and apply the activation to sums (pixels, channels); returns (rows, columns, channels) of the region."""
    bias = call.constant(bias_at)
    total = total if bias is None else total + bias
    return clamp_real(total, call.activation).reshape(call.region.rows, call.region.columns, -1)


def finish_integer(call: PatchCall, total: Values, *, bias_at: int = 2) -> Values:
    """Add bias to sums (pixels, channels) and requantize them; returns (rows, columns, channels) of the region."""
    bias = call.constant(bias_at)
    mantissas, exponents = call.once("multipliers", lambda: quantize_multipliers(_scales(call)))
    lowest, highest = activation_range(call.activation, call.output)
    quantized = np.empty(total.shape, call.output.dtype)
    for start in range(0, len(total), PIXELS_AT_ONCE):
        block = slice(start, start + PIXELS_AT_ONCE)
        sums = total[block].astype(np.int64)
        scaled = _rounding(call)(sums if bias is None else sums + bias.astype(np.int64), mantissas, exponents)
        quantized[block] = np.clip(scaled + zero_point_of(call.output), lowest, highest)
    return quantized.reshape(call.region.rows, call.region.columns, -1)
