"""Descriptors of operators without weights on values of up to 16 bits."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from deeplab.runtime.layers.pooling import mean_multiplier
from deeplab.runtime.layers.window_ops import geometry
from evaluation.graph import Tensor
from evaluation.graph.accumulate import accumulator_dtype
from evaluation.graph.regions import extent
from evaluation.interpreter.elementwise import ADD_LEFT_SHIFT
from evaluation.interpreter.requantize import (
    activation_range,
    activation_ratio,
    integer_range,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)
from evaluation.kernels.descriptors import low_bit


def add(site: KernelSite) -> Fields:
    """ADD of two tensors of one shape."""
    reads = _reads(site)
    left_shift = ADD_LEFT_SHIFT[16 if site.output.dtype == "int16" else 8]
    twice_largest = 2.0 * max(float(scale_of(tensor)) for tensor in reads)
    reals = [float(scale_of(tensor)) / twice_largest for tensor in reads]
    reals.append(twice_largest / ((1 << left_shift) * float(scale_of(site.output))))
    pairs = [quantize_multiplier(real) for real in reals]
    fields: Fields = {
        "multipliers": tuple(mantissa for mantissa, _ in pairs),
        "shifts": tuple(exponent for _, exponent in pairs),
        "zeros": tuple(zero_point_of(tensor) for tensor in (*reads, site.output)),
        **_bounds(site.output, site.operator.attributes.get("activation", "NONE")),
        "channels": extent(site.output)[2],
        "left_shift": left_shift,
    }
    return fields


def requantize(site: KernelSite) -> Fields:
    """QUANTIZE to signed values, and unfused RELU, RELU6 and RELU_N1_TO_1, which differ in multiplier and bounds."""
    source, output = site.source, site.output
    is_change = site.operator.kind == "QUANTIZE"
    ratio = float(scale_of(source)) / float(scale_of(output)) if is_change else activation_ratio(source, output)
    mantissa, exponent = quantize_multiplier(ratio)
    fields: Fields = {
        "multiplier": mantissa,
        "shift": exponent,
        "in_zero": zero_point_of(source),
        "out_zero": zero_point_of(output),
        **_bounds(output, "NONE" if is_change else site.operator.kind),
        "channels": extent(output)[2],
        "from_unsigned": source.dtype == "uint8",
    }
    return fields


def concatenation(site: KernelSite) -> Fields:
    """CONCATENATION along the channels."""
    reads, output = _reads(site), site.output
    pairs = [quantize_multiplier(float(scale_of(tensor)) / float(scale_of(output))) for tensor in reads]
    lowest, highest = integer_range(output)
    number = site.number
    fields: Fields = {
        "multipliers": Constant(f"multipliers_{number}", np.array([pair[0] for pair in pairs], np.int32)),
        "shifts": Constant(f"shifts_{number}", np.array([pair[1] for pair in pairs], np.int8)),
        "zeros": Constant(f"zeros_{number}", np.array([zero_point_of(tensor) for tensor in reads], np.int16)),
        "channels": Constant(f"channels_{number}", np.array([extent(tensor)[2] for tensor in reads], np.uint16)),
        "out_zero": zero_point_of(output),
        "lowest": lowest,
        "highest": highest,
        "inputs": len(reads),
    }
    return fields


def pool(site: KernelSite) -> Fields:
    """AVERAGE_POOL_2D or MEAN over all rows and columns."""
    source, output, operator = site.source, site.output, site.operator
    rows, columns, channels = extent(source)
    mantissa, exponent = mean_multiplier(site) if operator.kind == "MEAN" else (0, 0)
    fields: Fields = {
        "multiplier": mantissa,
        "shift": exponent,
        "count": rows * columns,
        "in_rows": rows,
        "in_columns": columns,
        "channels": channels,
        "in_zero": zero_point_of(source),
        "out_zero": zero_point_of(output),
        **_bounds(output, operator.attributes.get("activation", "NONE")),
        "sum_bytes": np.dtype(accumulator_dtype(source, rows * columns)).itemsize,
    }
    return fields


def window_pool(site: KernelSite) -> Fields:
    """AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window."""
    rows, columns = site.operator.attributes["filter"]
    fields: Fields = {
        **geometry(site),
        "channels": extent(site.source)[2],
        "filter_rows": rows,
        "filter_columns": columns,
        **_bounds(site.output, site.operator.attributes.get("activation", "NONE")),
        "takes_largest": site.operator.kind == "MAX_POOL_2D",
    }
    return fields


FILLERS: Fillers = {
    low_bit.ADD: add,
    low_bit.REQUANTIZE: requantize,
    low_bit.CONCATENATION: concatenation,
    low_bit.POOL: pool,
    low_bit.WINDOW_POOL: window_pool,
}


def _reads(site: KernelSite) -> list[Tensor]:
    return [site.graph.tensors[operand.tensor] for operand in site.call.reads]


def _bounds(output: Tensor, activation: str) -> Fields:
    lowest, highest = activation_range(activation, output)
    return {"lowest": lowest, "highest": highest}
