"""Descriptors of pools over the whole image on int8."""

from __future__ import annotations

from deeplab.runtime.layer import Fields, Fillers, KernelSite
from evaluation.graph.accumulate import accumulator_dtype
from evaluation.graph.regions import extent
from evaluation.interpreter.requantize import (
    activation_range,
    integer_range,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)
from evaluation.kernels.descriptors import int8


def global_pool(site: KernelSite) -> Fields:
    """AVERAGE_POOL_2D or MEAN over all rows and columns."""
    source, output, operator = site.source, site.output, site.operator
    rows, columns, channels = extent(source)
    mantissa, exponent = 0, 0
    lowest, highest = activation_range(operator.attributes.get("activation", "NONE"), output)
    if operator.kind == "MEAN":
        mantissa, exponent = mean_multiplier(site)
        lowest, highest = integer_range(output)
    return {
        "multiplier": mantissa,
        "shift": exponent,
        "count": rows * columns,
        "in_rows": rows,
        "in_columns": columns,
        "channels": channels,
        "in_zero": zero_point_of(source),
        "out_zero": zero_point_of(output),
        "lowest": lowest,
        "highest": highest,
        "wide": accumulator_dtype(source, rows * columns) == "int32",
    }


def mean_multiplier(site: KernelSite) -> tuple[int, int]:
    """Mantissa and exponent of a MEAN, divided by the number of elements (`reference_integer_ops::Mean`)."""
    count = site.source.elements // site.output.elements
    mantissa, exponent = quantize_multiplier(float(scale_of(site.source)) / float(scale_of(site.output)))
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    return (mantissa << shift) // count, exponent - shift


FILLERS: Fillers = {int8.GLOBAL_POOL: global_pool}
