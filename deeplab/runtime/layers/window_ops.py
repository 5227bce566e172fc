"""Pools with a sliding window, and sums over the image or any axes, on 8-bit codes."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, KernelDescriptor, KernelSite, Makers, Value
from evaluation.graph import Tensor
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
from evaluation.kernels.contract import is_global_reduction

MOST_AXES = 6
"""As in `c/int8/reduce.c`."""


def is_code(tensor: Tensor) -> bool:
    """Whether a tensor holds codes of 8 bits."""
    return tensor.dtype in ("int8", "uint8") and tensor.bits == 8


def geometry(site: KernelSite) -> dict[str, Value]:
    """Input and steps of a sliding window."""
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


def pool(site: KernelSite) -> KernelDescriptor | None:
    """AVERAGE_POOL_2D or MAX_POOL_2D; an average over the whole image is a sum that becomes a mean."""
    source, output, operator = site.source, site.output, site.operator
    if not is_code(source) or source.dtype != output.dtype:
        return None
    if is_global_reduction(site.graph, operator):
        return sums(site)
    lowest, highest = activation_range(operator.attributes.get("activation", "NONE"), output)
    rows, columns = operator.attributes["filter"]
    fields: dict[str, Value] = {
        **geometry(site),
        "channels": extent(source)[2],
        "filter_rows": rows,
        "filter_columns": columns,
        "lowest": lowest,
        "highest": highest,
        "is_unsigned": source.dtype == "uint8",
    }
    kernel = operator.kind.removesuffix("_2D").lower()
    return KernelDescriptor("int8/pool", kernel, "window_pool_layer", fields)


def sums(site: KernelSite) -> KernelDescriptor | None:
    """AVERAGE_POOL_2D over the whole image; MEAN and SUM over any axes."""
    source, output, operator = site.source, site.output, site.operator
    if not is_code(source) or source.dtype != output.dtype:
        return None
    count = source.elements // output.elements
    multiplier, becomes, bounds = (0, 0), 0, integer_range(output)
    if operator.kind == "MEAN":
        multiplier, becomes = _mean_multiplier(site, count), 1
    elif operator.kind == "SUM":
        multiplier, becomes = quantize_multiplier(float(scale_of(source)) / float(scale_of(output))), 2
    else:
        bounds = activation_range(operator.attributes.get("activation", "NONE"), output)
    rows, columns, channels = extent(source)
    fields: dict[str, Value] = {
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
    if site.call.reduces:
        return KernelDescriptor("int8/reduce", "running_sums", "sums_layer", fields)
    axes = _axes(source.shape, operator.attributes["axes"])
    if len(axes) > MOST_AXES:
        raise site.refused(f"it sums over {len(axes)} groups of axes, at most {MOST_AXES} can be run; sum in two steps")
    table = np.array([size for size, _ in axes] + [step for _, step in axes], np.int32)
    fields |= {"axes": Constant(f"axes_{site.number}", table), "rank": len(axes)}
    return KernelDescriptor("int8/reduce", "axis_sums", "sums_layer", fields)


LAYERS: Makers = {("AVERAGE_POOL_2D",): pool, ("MAX_POOL_2D",): pool, ("MEAN",): sums, ("SUM",): sums}


def _mean_multiplier(site: KernelSite, count: int) -> tuple[int, int]:
    """Mantissa and exponent of a MEAN, the number of elements divided away (`reference_integer_ops::Mean`)."""
    mantissa, exponent = quantize_multiplier(float(scale_of(site.source)) / float(scale_of(site.output)))
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    return (mantissa << shift) // count, exponent - shift


def _axes(shape: tuple[int, ...], summed: tuple[int, ...]) -> list[tuple[int, int]]:
    """(size, step in the output) of the input's axes, neighbours of one kind as one; 0 for those summed over."""
    summed = tuple(axis % len(shape) for axis in summed)
    axes: list[tuple[int, int]] = []
    step = 1
    for axis in reversed(range(len(shape))):
        size = shape[axis]
        if size == 1:
            continue
        is_summed = axis in summed
        if axes and (axes[0][1] == 0) == is_summed:
            axes[0] = axes[0][0] * size, axes[0][1]
        else:
            axes.insert(0, (size, 0 if is_summed else step))
        step *= 1 if is_summed else size
    return axes or [(1, 1)]
