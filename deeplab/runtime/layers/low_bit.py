"""What is not a convolution, on codes of any width up to 16 bits: sums, means, joins, resizes, changes of width."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, KernelDescriptor, KernelSite, Makers, Value
from deeplab.runtime.layers.packed import is_signed_code
from deeplab.runtime.layers.pooling import mean_multiplier
from deeplab.runtime.layers.resize import position_fields
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
from evaluation.kernels.contract import is_global_reduction


def add(site: KernelSite) -> KernelDescriptor | None:
    """ADD of two tensors of one shape."""
    reads = _reads(site)
    if len(reads) != 2 or not _are_narrow_or_wide(*reads, site.output):
        return None
    if any(extent(tensor) != extent(site.output) for tensor in reads):
        return None
    left_shift = ADD_LEFT_SHIFT[16 if site.output.dtype == "int16" else 8]
    twice_largest = 2.0 * max(float(scale_of(tensor)) for tensor in reads)
    reals = [float(scale_of(tensor)) / twice_largest for tensor in reads]
    reals.append(twice_largest / ((1 << left_shift) * float(scale_of(site.output))))
    pairs = [quantize_multiplier(real) for real in reals]
    fields: dict[str, Value] = {
        "multipliers": tuple(mantissa for mantissa, _ in pairs),
        "shifts": tuple(exponent for _, exponent in pairs),
        "zeros": tuple(zero_point_of(tensor) for tensor in (*reads, site.output)),
        **_bounds(site.output, site.operator.attributes.get("activation", "NONE")),
        "channels": extent(site.output)[2],
        "left_shift": left_shift,
    }
    return KernelDescriptor("low_bit/add", "low_bit_add", "low_bit_add_layer", fields)


def requantize(site: KernelSite) -> KernelDescriptor | None:
    """QUANTIZE to signed codes, from such or from a camera's bytes; RELU, RELU6, RELU_N1_TO_1 as operators of their
    own are the same with other bounds."""
    source, output = site.source, site.output
    from_unsigned = (source.dtype, source.bits) == ("uint8", 8) and source.quantization is not None
    if not is_signed_code(output) or not (from_unsigned or is_signed_code(source)):
        return None
    is_change = site.operator.kind == "QUANTIZE"
    ratio = float(scale_of(source)) / float(scale_of(output)) if is_change else activation_ratio(source, output)
    mantissa, exponent = quantize_multiplier(ratio)
    fields: dict[str, Value] = {
        "multiplier": mantissa,
        "shift": exponent,
        "in_zero": zero_point_of(source),
        "out_zero": zero_point_of(output),
        **_bounds(output, "NONE" if is_change else site.operator.kind),
        "channels": extent(output)[2],
        "from_unsigned": from_unsigned,
    }
    return KernelDescriptor("low_bit/requantize", "low_bit_requantize", "low_bit_requantize_layer", fields)


def concatenation(site: KernelSite) -> KernelDescriptor | None:
    """CONCATENATION along the channels."""
    reads, output, operator = _reads(site), site.output, site.operator
    if len(reads) != len(operator.inputs) or not _are_narrow_or_wide(*reads, output):
        return None
    if operator.attributes["axis"] % len(output.shape) != len(output.shape) - 1:
        return None
    pairs = [quantize_multiplier(float(scale_of(tensor)) / float(scale_of(output))) for tensor in reads]
    lowest, highest = integer_range(output)
    number = site.number
    fields: dict[str, Value] = {
        "multipliers": Constant(f"multipliers_{number}", np.array([pair[0] for pair in pairs], np.int32)),
        "shifts": Constant(f"shifts_{number}", np.array([pair[1] for pair in pairs], np.int8)),
        "zeros": Constant(f"zeros_{number}", np.array([zero_point_of(tensor) for tensor in reads], np.int16)),
        "channels": Constant(f"channels_{number}", np.array([extent(tensor)[2] for tensor in reads], np.uint16)),
        "out_zero": zero_point_of(output),
        "lowest": lowest,
        "highest": highest,
        "inputs": len(reads),
    }
    return KernelDescriptor("low_bit/concatenation", "low_bit_concatenation", "low_bit_concatenation_layer", fields)


def pool(site: KernelSite) -> KernelDescriptor | None:
    """AVERAGE_POOL_2D, MAX_POOL_2D, or MEAN over all rows and columns."""
    source, output, operator = site.source, site.output, site.operator
    if not _are_narrow_or_wide(source, output):
        return None
    if not is_global_reduction(site.graph, operator):
        return None if operator.kind == "MEAN" else _window_pool(site)
    rows, columns, channels = extent(source)
    mantissa, exponent = mean_multiplier(site) if operator.kind == "MEAN" else (0, 0)
    fields: dict[str, Value] = {
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
    return KernelDescriptor("low_bit/pool", "low_bit_pool", "low_bit_pool_layer", fields)


def _window_pool(site: KernelSite) -> KernelDescriptor:
    rows, columns = site.operator.attributes["filter"]
    fields: dict[str, Value] = {
        **geometry(site),
        "channels": extent(site.source)[2],
        "filter_rows": rows,
        "filter_columns": columns,
        **_bounds(site.output, site.operator.attributes.get("activation", "NONE")),
        "takes_largest": site.operator.kind == "MAX_POOL_2D",
    }
    return KernelDescriptor("low_bit/window_pool", "low_bit_window_pool", "low_bit_window_pool_layer", fields)


def resize(site: KernelSite) -> KernelDescriptor | None:
    if not _are_narrow_or_wide(site.source, site.output):
        return None
    return KernelDescriptor("low_bit/resize", "low_bit_resize", "low_bit_resize_layer", position_fields(site))


def resize_argmax(site: KernelSite) -> KernelDescriptor | None:
    if not _are_narrow_or_wide(site.source):
        return None
    return KernelDescriptor("low_bit/resize", "low_bit_resize_argmax", "low_bit_resize_layer", position_fields(site))


LAYERS: Makers = {
    ("ADD",): add,
    **dict.fromkeys((("QUANTIZE",), ("RELU",), ("RELU6",), ("RELU_N1_TO_1",)), requantize),
    ("CONCATENATION",): concatenation,
    ("AVERAGE_POOL_2D",): pool,
    ("MAX_POOL_2D",): pool,
    ("MEAN",): pool,
    ("RESIZE_BILINEAR",): resize,
    ("RESIZE_BILINEAR", "ARG_MAX"): resize_argmax,
}


def _are_narrow_or_wide(*tensors: Tensor) -> bool:
    """Whether all are signed codes, and not all of 8 bits: those have faster kernels."""
    return all(is_signed_code(tensor) for tensor in tensors) and any(tensor.bits != 8 for tensor in tensors)


def _reads(site: KernelSite) -> list[Tensor]:
    return [site.graph.tensors[place.tensor] for place in site.call.reads]


def _bounds(output: Tensor, activation: str) -> dict[str, Value]:
    lowest, highest = activation_range(activation, output)
    return {"lowest": lowest, "highest": highest}
