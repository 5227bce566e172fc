"""Descriptors of CONV_2D, FULLY_CONNECTED and DEPTHWISE_CONV_2D on int8 with dense int8 weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from evaluation.graph import Tensor
from evaluation.graph.geometry import padding_before
from evaluation.graph.regions import extent
from evaluation.interpreter.convolution import effective_scales
from evaluation.interpreter.requantize import activation_range, quantize_multipliers, zero_point_of, zero_points_of
from evaluation.kernels.constants import GROUP, LANES
from evaluation.kernels.descriptors import int8


def convolution(site: KernelSite) -> Fields:
    """CONV_2D or FULLY_CONNECTED."""
    weights = site.required_constant(1)
    kernel = weights if weights.ndim == 4 else weights.reshape(weights.shape[0], 1, 1, weights.shape[1])
    if site.operator.kind == "FULLY_CONNECTED":
        geometry = {"in_rows": 1, "in_columns": 1, "in_channels": kernel.shape[3], "stride_rows": 1,
                    "stride_columns": 1, "dilation_rows": 1, "dilation_columns": 1}  # fmt: skip
        padding = None
    else:
        geometry = window_fields(site)
        padding = padding_of(site, geometry, kernel.shape[1:3])
    return {
        "weights": Constant(site.name_of("weights", 1), blocked(kernel.reshape(len(kernel), -1))),
        **rescaling_fields(site, kernel.reshape(len(kernel), -1)),
        **geometry,
        "out_channels": len(kernel),
        "filter_rows": kernel.shape[1],
        "filter_columns": kernel.shape[2],
        "padding": padding,
        "round_once": site.operator.kind == "FULLY_CONNECTED",
    }


def depthwise(site: KernelSite) -> Fields:
    """DEPTHWISE_CONV_2D."""
    weights = site.required_constant(1)
    taps = weights.reshape(-1, weights.shape[3])
    return {
        "weights": Constant(site.name_of("weights", 1), taps.reshape(-1)),
        **rescaling_fields(site, taps.T),
        **window_fields(site),
        "out_channels": weights.shape[3],
        "filter_rows": weights.shape[1],
        "filter_columns": weights.shape[2],
        "in_zero": zero_point_of(site.source),
    }


def grouped_convolution(site: KernelSite) -> Fields:
    """Grouped CONV_2D; each group has blocks of weights of its own."""
    weights = site.required_constant(1)
    kernels = weights.reshape(groups_of(site), -1, weights[0].size)
    stored = np.concatenate([blocked(group) for group in kernels])
    return in_groups(site, convolution(site) | {"weights": Constant(site.name_of("grouped_weights", 1), stored)})


FILLERS: Fillers = {
    int8.CONVOLUTION: convolution,
    int8.GROUPED_CONVOLUTION: grouped_convolution,
    int8.DEPTHWISE: depthwise,
}


def groups_of(site: KernelSite) -> int:
    """Groups of channels of a CONV_2D."""
    return extent(site.source)[2] // site.required_tensor(1).shape[3]


def in_groups(site: KernelSite, fields: Fields) -> Fields:
    """The members of a grouped convolution from those of a convolution; `plain` describes the first group."""
    groups, channels = groups_of(site), site.required_tensor(1).shape[3]
    plain = fields | {"in_channels": channels, "out_channels": len(site.required_constant(1)) // groups}
    return {"groups": groups} | {f"plain.{name}": value for name, value in plain.items()}


def blocked(rows: np.ndarray) -> np.ndarray:
    """Kernels (output channels, values) in the order of `struct convolution_layer`, int8 (n,).

    Blocks of 16 channels, each laid out (group of 4 values, channel, value), the last group padded with zeros.
    """
    values = -(-rows.shape[1] // GROUP) * GROUP
    padded = np.zeros((len(rows), values), np.int8)
    padded[:, : rows.shape[1]] = rows
    blocks = []
    for first in range(0, len(rows), LANES):
        block = padded[first : first + LANES]
        blocks.append(block.reshape(len(block), -1, GROUP).transpose(1, 0, 2).reshape(-1))
    return np.concatenate(blocks)


def rescaling_fields(site: KernelSite, rows: np.ndarray) -> Fields:
    """Bias and requantization of a convolution with kernels `rows` (output channels, values).

    The input's zero point is folded into the bias: sum((x - z) w) + b = sum(x w) + (b - z sum(w)).
    """
    bias = site.constant(2)
    folded = (0 if bias is None else bias.astype(np.int64)) - of_zero(site, rows)
    mantissas, exponents = quantize_multipliers(
        effective_scales(site.operator.kind, site.source, site.required_tensor(1), site.output)
    )
    lowest, highest = activation_range(site.operator.attributes.get("activation", "NONE"), site.output)
    number = site.number
    return {
        "bias": Constant(f"bias_{number}", folded.astype(np.int32)),
        "multipliers": Constant(f"multipliers_{number}", mantissas.astype(np.int32)),
        "shifts": Constant(f"shifts_{number}", exponents.astype(np.int8)),
        "out_zero": zero_point_of(site.output),
        "lowest": lowest,
        "highest": highest,
        "per_channel": mantissas.size > 1,
    }


def of_zero(site: KernelSite, rows: np.ndarray) -> np.ndarray:
    """What a convolution's products sum up to where its input is at its zero points, int64 (output channels,).

    Args:
        site: the convolution.
        rows: its kernels, (output channels, values), the channels of a tap one after another.
    """
    zeros, whole = zero_points_of(site.source), rows.astype(np.int64)
    if zeros.size == 1:
        return np.asarray(zeros[0] * whole.sum(1))
    return np.asarray((whole.reshape(len(rows), -1, zeros.size) * zeros).sum(axis=(1, 2)))


def window_fields(site: KernelSite) -> dict[str, int]:
    """Sizes of the input, strides, dilations and padding of a sliding window."""
    rows, columns, channels = extent(site.source)
    attributes = site.operator.attributes
    stride, dilation = attributes["stride"], attributes.get("dilation", (1, 1))
    before = padding_before(site.graph, site.operator)
    return {
        "in_rows": rows,
        "in_columns": columns,
        "in_channels": channels,
        "stride_rows": stride[0],
        "stride_columns": stride[1],
        "dilation_rows": dilation[0],
        "dilation_columns": dilation[1],
        "before_rows": before[0],
        "before_columns": before[1],
    }


def padding_of(site: KernelSite, geometry: Mapping[str, int], filter_size: tuple[int, int]) -> Constant | None:
    """One pixel of zero points if a window reaches over an edge, else None."""
    if not reaches_over(site.source, site.output, geometry, filter_size):
        return None
    zeros = zero_points_of(site.source)
    return Constant(f"padding_{site.number}", np.broadcast_to(zeros, (geometry["in_channels"],)).astype(np.int8))


def reaches_over(source: Tensor, output: Tensor, geometry: Mapping[str, int], filter_size: tuple[int, int]) -> bool:
    """Whether any window reaches over an edge of its input."""
    for axis, name in enumerate(("rows", "columns")):
        first = -geometry[f"before_{name}"]
        last = first + (extent(output)[axis] - 1) * geometry[f"stride_{name}"]
        if first < 0 or last + (filter_size[axis] - 1) * geometry[f"dilation_{name}"] >= extent(source)[axis]:
            return True
    return False
