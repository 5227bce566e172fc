"""Descriptors of CONV_2D, FULLY_CONNECTED, DEPTHWISE_CONV_2D and TRANSPOSE_CONV with packed weights, or values of up to
16 bits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from deeplab.runtime.layers.convolution import blocked, in_groups, of_zero, padding_of, rescaling_fields, window_fields
from deeplab.runtime.layers.weight_formats import PLAIN, stored_fields
from evaluation.graph.regions import extent
from evaluation.interpreter.convolution import effective_scales
from evaluation.interpreter.requantize import activation_range, quantize_multipliers, zero_point_of
from evaluation.interpreter.window import padding_before as same_padding
from evaluation.kernels.constants import MOST_DEPTHWISE_TAPS, Rounding
from evaluation.kernels.descriptors import low_bit


def convolution(site: KernelSite) -> Fields:
    """CONV_2D or FULLY_CONNECTED on signed values of up to 16 bits."""
    rows, geometry, filter_size, _ = _products(site)
    return _fields(site, rows, geometry, filter_size, _bias(site, rows))


def grouped_convolution(site: KernelSite) -> Fields:
    """Grouped CONV_2D."""
    return in_groups(site, convolution(site))


def transposed(site: KernelSite) -> Fields:
    """TRANSPOSE_CONV on signed values of up to 16 bits; its padding is that of the convolution from output to input."""
    weights, bias = site.required_constant(1), site.constant(3)
    rows, filter_size = weights.reshape(len(weights), -1), weights.shape[1:3]
    source, output, attributes = site.source, site.output, site.operator.attributes
    (in_rows, in_columns, in_channels), stride = extent(source), attributes["stride"]
    before = [
        same_padding(extent(output)[a], extent(source)[a], filter_size[a], stride[a], 1, attributes["padding"])
        for a in (0, 1)
    ]
    geometry = {
        "in_rows": in_rows,
        "in_columns": in_columns,
        "in_channels": in_channels,
        "stride_rows": stride[0],
        "stride_columns": stride[1],
        "before_rows": before[0],
        "before_columns": before[1],
    }
    values = np.zeros(len(weights), np.int64) if bias is None else bias.reshape(-1)
    values = values.astype(np.int64 if output.dtype == "int16" else np.int32)
    return {f"plain.{name}": value for name, value in _fields(site, rows, geometry, filter_size, values).items()}


def packed_convolution(site: KernelSite) -> Fields:
    """CONV_2D or FULLY_CONNECTED on values and weights of at most 8 bits."""
    rows, geometry, filter_size, own = _products(site)
    return _int8_fields(site, rows, {**geometry, **own}, filter_size)


def _products(site: KernelSite) -> tuple[np.ndarray, Mapping[str, int], tuple[int, int], Fields]:
    """Kernels (output channels, values), geometry, size of the filter, and members of int8 kernels only."""
    weights = site.required_constant(1)
    kernel = weights if weights.ndim == 4 else weights.reshape(weights.shape[0], 1, 1, weights.shape[1])
    own: Fields = {"round_once": site.operator.kind == "FULLY_CONNECTED", "padding": None}
    if site.operator.kind == "FULLY_CONNECTED":
        if site.source.bits < 8 and extent(site.source)[0] > 1:
            raise site.refused("its input has several rows, which do not join: each begins on a byte; flatten it first")
        geometry = {
            **dict.fromkeys(("in_rows", "in_columns", "stride_rows", "stride_columns"), 1),
            **dict.fromkeys(("dilation_rows", "dilation_columns"), 1),
            "in_channels": kernel.shape[3],
        }
    else:
        geometry = window_fields(site)
        own["padding"] = padding_of(site, geometry, kernel.shape[1:3])
    return kernel.reshape(len(kernel), -1), geometry, kernel.shape[1:3], own


def depthwise(site: KernelSite) -> Fields:
    """DEPTHWISE_CONV_2D on signed values of up to 16 bits."""
    rows, filter_size = _taps(site)
    return _fields(site, rows, window_fields(site), filter_size, _bias(site, rows))


def packed_depthwise(site: KernelSite) -> Fields:
    """DEPTHWISE_CONV_2D on int8 with weights of at most 8 bits."""
    rows, filter_size = _taps(site)
    own: Fields = {**window_fields(site), "in_zero": zero_point_of(site.source)}
    return _int8_fields(site, rows, own, filter_size)


def _taps(site: KernelSite) -> tuple[np.ndarray, tuple[int, int]]:
    """Kernels (output channels, taps) of a depthwise convolution, and the size of its filter."""
    weights = site.required_constant(1)
    rows = np.ascontiguousarray(weights.reshape(-1, weights.shape[3]).T)
    if rows.shape[1] > MOST_DEPTHWISE_TAPS:
        raise site.refused(f"its filter has {rows.shape[1]} taps; the C program has room for {MOST_DEPTHWISE_TAPS}")
    return rows, weights.shape[1:3]


FILLERS: Fillers = {
    low_bit.CONVOLUTION: convolution,
    low_bit.GROUPED_CONVOLUTION: grouped_convolution,
    low_bit.DEPTHWISE: depthwise,
    low_bit.TRANSPOSED: transposed,
    low_bit.PACKED_CONVOLUTION: packed_convolution,
    low_bit.PACKED_DEPTHWISE: packed_depthwise,
}


def _fields(
    site: KernelSite,
    rows: np.ndarray,
    geometry: Mapping[str, int],
    filter_size: tuple[int, int],
    bias: np.ndarray,
) -> Fields:
    """The members of a low-bit kernel with weights `rows` (output channels, values)."""
    mantissas, exponents = quantize_multipliers(
        effective_scales(site.operator.kind, site.source, site.required_tensor(1), site.output)
    )
    lowest, highest = activation_range(site.operator.attributes.get("activation", "NONE"), site.output)
    fields: Fields = {
        **stored_fields(site, rows),
        "bias": Constant(f"bias_{site.number}", bias),
        "multipliers": Constant(f"multipliers_{site.number}", mantissas.astype(np.int32)),
        "shifts": Constant(f"shifts_{site.number}", exponents.astype(np.int8)),
        **geometry,
        "out_channels": len(rows),
        "filter_rows": filter_size[0],
        "filter_columns": filter_size[1],
        "in_zero": zero_point_of(site.source),
        "out_zero": zero_point_of(site.output),
        "lowest": lowest,
        "highest": highest,
        "wide_bias": bias.dtype == np.int64,
        "per_channel": mantissas.size > 1,
        "rounding": _rounding(site),
    }
    return fields


def _int8_fields(site: KernelSite, rows: np.ndarray, own: Fields, filter_size: tuple[int, int]) -> Fields:
    """The members of an int8 kernel with packed weights `rows` (output channels, values).

    Args:
        own: members that low-bit kernels do not have.
    """
    stored = stored_fields(site, rows)
    if stored["format"] == PLAIN:
        stored["weights"] = Constant(site.name_of("weights", 1), blocked(rows))
    plain: Fields = {
        "weights": stored["weights"],
        **rescaling_fields(site, rows),
        **own,
        "out_channels": len(rows),
        "filter_rows": filter_size[0],
        "filter_columns": filter_size[1],
    }
    fields: Fields = {f"plain.{name}": value for name, value in plain.items()}
    fields |= {name: stored[name] for name in ("entries", "format", "weight_bits")}
    return fields


def _rounding(site: KernelSite) -> Rounding:
    """Rounding of the requantization, as in `evaluation.interpreter.convolution`."""
    if site.source.dtype == "int16":
        return Rounding.ROUND_WIDE
    return Rounding.ROUND_ONCE if site.operator.kind == "FULLY_CONNECTED" else Rounding.ROUND_TWICE


def _bias(site: KernelSite, rows: np.ndarray) -> np.ndarray:
    """Bias with the input's zero point folded in, (output channels,); int64 with 16-bit activations, and where the sum
    exceeds int32, else int32."""
    bias = site.constant(2)
    folded = (0 if bias is None else bias.astype(np.int64)) - of_zero(site, rows)
    wide = site.output.dtype == "int16" or np.abs(folded).max() > np.iinfo(np.int32).max
    return folded.astype(np.int64 if wide else np.int32)
