"""Descriptors of 8-bit convolutions that the int8 family lacks: uint8, FULLY_CONNECTED of several rows, transposed."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from deeplab.runtime.layers.weight_formats import stored_fields
from deeplab.runtime.layers.window_ops import geometry
from evaluation.graph.regions import extent
from evaluation.interpreter.convolution import effective_scales
from evaluation.interpreter.requantize import activation_range, quantization_of, quantize_multipliers, zero_point_of
from evaluation.interpreter.window import padding_before
from evaluation.kernels.descriptors import uint8


def convolution(site: KernelSite) -> Fields:
    """CONV_2D."""
    _check_zero_points(site)
    weights = site.required_constant(1)
    return _fields(site, weights.reshape(len(weights), -1), weights.shape[:3])


def depthwise(site: KernelSite) -> Fields:
    """DEPTHWISE_CONV_2D."""
    _check_zero_points(site)
    weights = site.required_constant(1)
    taps = weights.reshape(-1, weights.shape[3])
    return _fields(site, taps.T, (weights.shape[3], *weights.shape[1:3]))


def rows(site: KernelSite) -> Fields:
    """FULLY_CONNECTED of one row or several."""
    _check_zero_points(site)
    weights = site.required_constant(1)
    outputs, values = weights.shape
    fields: Fields = {
        **_weights(site, weights),
        **_scaling(site),
        "bias": _folded_bias(site, weights),
        "rows": site.source.elements // values,
        "values": values,
        "outputs": outputs,
        "in_channels": extent(site.source)[2],
        "out_channels": extent(site.output)[2],
        "round_once": site.source.dtype == "int8",
    }
    return fields


def transposed(site: KernelSite) -> Fields:
    """TRANSPOSE_CONV; its padding is that of the convolution from output to input."""
    _check_zero_points(site)
    weights, bias = site.required_constant(1), site.constant(3)
    source, output, attributes = site.source, site.output, site.operator.attributes
    (in_rows, in_columns, in_channels), stride = extent(source), attributes["stride"]
    before = [
        padding_before(extent(output)[a], extent(source)[a], weights.shape[a + 1], stride[a], 1, attributes["padding"])
        for a in (0, 1)
    ]
    fields: Fields = {
        **_weights(site, weights.reshape(len(weights), -1)),
        **_scaling(site),
        "bias": None if bias is None else Constant(f"bias_{site.number}", bias.reshape(-1).astype(np.int32)),
        "in_rows": in_rows,
        "in_columns": in_columns,
        "in_channels": in_channels,
        "out_channels": len(weights),
        "filter_rows": weights.shape[1],
        "filter_columns": weights.shape[2],
        "stride_rows": stride[0],
        "stride_columns": stride[1],
        "before_rows": before[0],
        "before_columns": before[1],
        "in_zero": zero_point_of(source),
    }
    return fields


FILLERS: Fillers = {
    uint8.CONVOLUTION: convolution,
    uint8.DEPTHWISE: depthwise,
    uint8.FULLY_CONNECTED: rows,
    uint8.TRANSPOSED: transposed,
}


def _fields(site: KernelSite, kernels: np.ndarray, sizes: tuple[int, int, int]) -> Fields:
    """The members of a convolution with kernels (output channels, values) of sizes (output channels, rows, columns)."""
    fields: Fields = {
        **_weights(site, kernels),
        **_scaling(site),
        "bias": _folded_bias(site, kernels),
        **geometry(site),
        "in_channels": extent(site.source)[2],
        "out_channels": sizes[0],
        "filter_rows": sizes[1],
        "filter_columns": sizes[2],
        "dilation_rows": site.operator.attributes["dilation"][0],
        "dilation_columns": site.operator.attributes["dilation"][1],
        "in_zero": zero_point_of(site.source),
    }
    return fields


def _weights(site: KernelSite, kernels: np.ndarray) -> Fields:
    """Dense weights as in the file; sparse ones, of kernels (output channels, values), less their zero point."""
    zero = zero_point_of(site.required_tensor(1))
    if not site.is_packed:
        dense = Constant(site.name_of("kernel", 1), site.required_constant(1).reshape(-1).view(np.uint8))
        return {"weights": dense, "entries": 0, "format": -1, "weight_zero": zero}
    stored = stored_fields(site, kernels.view(np.uint8) - np.uint8(zero & 255))
    return {name: stored[name] for name in ("weights", "entries", "format")} | {"weight_zero": zero}


def _scaling(site: KernelSite) -> Fields:
    """The requantization of the sums."""
    output = site.output
    scales = effective_scales(site.operator.kind, site.source, site.required_tensor(1), output)
    mantissas, exponents = quantize_multipliers(scales)
    lowest, highest = activation_range(site.operator.attributes.get("activation", "NONE"), output)
    return {
        "multipliers": Constant(f"multipliers_{site.number}", mantissas.astype(np.int32)),
        "shifts": Constant(f"shifts_{site.number}", exponents.astype(np.int8)),
        "out_zero": zero_point_of(output),
        "lowest": lowest,
        "highest": highest,
        "per_channel": mantissas.size > 1,
        "is_unsigned": site.source.dtype == "uint8",
    }


def _folded_bias(site: KernelSite, kernels: np.ndarray) -> Constant:
    """The bias with the input's zero point folded in, for kernels (output channels, values): sum((x - z) w) + b =
    sum(x w) + (b - z sum(w)), where w are the weights less their zero point."""
    bias = site.constant(2)
    sums = (kernels.astype(np.int64) - zero_point_of(site.required_tensor(1))).sum(axis=1)
    folded = (0 if bias is None else bias.astype(np.int64)) - zero_point_of(site.source) * sums
    return Constant(f"bias_{site.number}", folded.astype(np.int32))


def _check_zero_points(site: KernelSite) -> None:
    """Refuse weights whose zero points differ."""
    if np.ptp(quantization_of(site.required_tensor(1)).zero_point) != 0:
        raise site.refused("weight zero points differ by channel; quantize symmetrically")
