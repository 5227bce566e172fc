"""Descriptors of pools with a sliding window, and of sums over the image or any axes, on 8-bit values."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from deeplab.runtime.layers.pooling import mean_multiplier
from evaluation.graph.accumulate import accumulator_dtype
from evaluation.graph.geometry import padding_before
from evaluation.graph.regions import extent
from evaluation.interpreter.requantize import (
    activation_range,
    integer_range,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)
from evaluation.kernels.arrays import summed_axes
from evaluation.kernels.constants import MOST_AXES
from evaluation.kernels.descriptors import int8
from evaluation.kernels.descriptors.int8 import SumsBecome


def geometry(site: KernelSite) -> Fields:
    """Sizes of the input, strides and padding of a sliding window."""
    rows, columns, _ = extent(site.source)
    stride, before = site.operator.attributes["stride"], padding_before(site.graph, site.operator)
    return {
        "in_rows": rows,
        "in_columns": columns,
        "stride_rows": stride[0],
        "stride_columns": stride[1],
        "before_rows": before[0],
        "before_columns": before[1],
    }


def pool(site: KernelSite) -> Fields:
    """AVERAGE_POOL_2D or MAX_POOL_2D with a sliding window."""
    source, output, operator = site.source, site.output, site.operator
    lowest, highest = activation_range(operator.attributes.get("activation", "NONE"), output)
    rows, columns = operator.attributes["filter"]
    return {
        **geometry(site),
        "channels": extent(source)[2],
        "filter_rows": rows,
        "filter_columns": columns,
        "lowest": lowest,
        "highest": highest,
        "is_unsigned": source.dtype == "uint8",
    }


def running_sums(site: KernelSite) -> Fields:
    """AVERAGE_POOL_2D, MEAN and SUM over the whole image."""
    source, output, operator = site.source, site.output, site.operator
    count = source.elements // output.elements
    multiplier, becomes, bounds = (0, 0), SumsBecome.POOLED_MEAN, integer_range(output)
    if operator.kind == "MEAN":
        multiplier, becomes = mean_multiplier(site), SumsBecome.SCALED_MEAN
    elif operator.kind == "SUM":
        ratio = float(scale_of(source)) / float(scale_of(output))
        multiplier, becomes = quantize_multiplier(ratio), SumsBecome.SCALED_SUM
    else:
        bounds = activation_range(operator.attributes.get("activation", "NONE"), output)
    rows, columns, channels = extent(source)
    return {
        "multiplier": multiplier[0],
        "shift": multiplier[1],
        "count": count,
        "outputs": output.elements,
        "in_rows": rows,
        "in_columns": columns,
        "in_channels": channels,
        "out_channels": extent(output)[2],
        "in_zero": zero_point_of(source),
        "out_zero": zero_point_of(output),
        "lowest": bounds[0],
        "highest": bounds[1],
        "sum_bytes": np.dtype(accumulator_dtype(source, count)).itemsize,
        "becomes": becomes,
        "is_unsigned": source.dtype == "uint8",
    }


def axis_sums(site: KernelSite) -> Fields:
    """MEAN and SUM over any axes."""
    axes = summed_axes(site.source.shape, site.operator.attributes["axes"])
    if len(axes) > MOST_AXES:
        raise site.refused(f"it sums over {len(axes)} groups of axes, at most {MOST_AXES} can be run; sum in two steps")
    table = np.array([size for size, _ in axes] + [step for _, step in axes], np.int32)
    return {**running_sums(site), "axes": Constant(f"axes_{site.number}", table), "rank": len(axes)}


FILLERS: Fillers = {
    int8.AVERAGE_POOL: pool,
    int8.MAX_POOL: pool,
    int8.RUNNING_SUMS: running_sums,
    int8.AXIS_SUMS: axis_sums,
}
