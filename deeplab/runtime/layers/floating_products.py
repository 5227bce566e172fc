"""Descriptors of CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED and TRANSPOSE_CONV on float32."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from deeplab.runtime.layers.convolution import groups_of, in_groups, window_fields
from deeplab.runtime.layers.floating import activation_of
from deeplab.runtime.layers.floating_packed import stored_fields
from evaluation.graph.regions import extent
from evaluation.interpreter.window import padding_before
from evaluation.kernels.constants import FLOAT_LANES, FLOAT_ROWS
from evaluation.kernels.descriptors import float32

BLOCKS = (FLOAT_LANES, 8, 4, 1)
"""Sizes of blocks of output channels, as in `float_block_lanes` of `c/float/arithmetic.h`."""


def convolution(site: KernelSite) -> Fields:
    """CONV_2D."""
    weights = _weights(site)
    return _fields(site, weights, 2, _window(site, weights))


def grouped_convolution(site: KernelSite) -> Fields:
    """Grouped CONV_2D; each group has blocks of weights of its own."""
    weights = _weights(site)
    fields = convolution(site)
    if not site.is_packed:
        kernels = weights.reshape(groups_of(site), -1, weights[0].size)
        stored = np.concatenate([in_blocks(group) for group in kernels])
        fields |= {"weights": Constant(site.name_of("grouped_weights", 1), stored)}
    return in_groups(site, fields)


def depthwise(site: KernelSite) -> Fields:
    """DEPTHWISE_CONV_2D."""
    weights = _weights(site)
    return _fields(site, weights, 2, _window(site, weights))


def transposed(site: KernelSite) -> Fields:
    """TRANSPOSE_CONV."""
    weights = _weights(site)
    size_in, size_out, filter_size = extent(site.source), extent(site.output), weights.shape[1:3]
    stride, padding = site.operator.attributes["stride"], site.operator.attributes["padding"]
    before = [padding_before(size_out[a], size_in[a], filter_size[a], stride[a], 1, padding) for a in (0, 1)]
    geometry = {
        "in_rows": size_in[0],
        "in_columns": size_in[1],
        "in_channels": size_in[2],
        "out_channels": len(weights),
        "filter_rows": filter_size[0],
        "filter_columns": filter_size[1],
        "stride_rows": stride[0],
        "stride_columns": stride[1],
        "before_rows": before[0],
        "before_columns": before[1],
    }
    return _fields(site, weights, 3, geometry)


def fully_connected(site: KernelSite) -> Fields:
    """FULLY_CONNECTED: the input as vectors of the weights' length."""
    weights = _weights(site)
    outputs, values = weights.shape
    geometry = {
        "vectors": site.source.elements // values,
        "values": values,
        "out_channels": outputs,
        "in_columns": _columns_of_vectors(site, site.source, site.call.reads[0], values),
        "out_columns": _columns_of_vectors(site, site.output, site.call.writes[0], outputs),
    }
    return _fields(site, weights, 2, geometry)


FILLERS: Fillers = {
    **dict.fromkeys((float32.CONVOLUTION, float32.PACKED_CONVOLUTION), convolution),
    **dict.fromkeys((float32.GROUPED_CONVOLUTION, float32.PACKED_GROUPED_CONVOLUTION), grouped_convolution),
    **dict.fromkeys((float32.DEPTHWISE, float32.PACKED_DEPTHWISE), depthwise),
    **dict.fromkeys((float32.TRANSPOSED, float32.PACKED_TRANSPOSED), transposed),
    **dict.fromkeys((float32.FULLY_CONNECTED, float32.PACKED_FULLY_CONNECTED), fully_connected),
}


def in_blocks(rows: np.ndarray) -> np.ndarray:
    """Kernels (output channels, values) in the order of `c/float/dot.h`, float32 (n,).

    Blocks of 16 channels, then of 8, 4 and 1 for the remainder, each laid out (value, channel).
    """
    blocks, first = [], 0
    while first < len(rows):
        lanes = next(size for size in BLOCKS if size <= len(rows) - first)
        blocks.append(rows[first : first + lanes].T.reshape(-1))
        first += lanes
    return np.concatenate(blocks)


def _weights(site: KernelSite) -> np.ndarray:
    """The values of the weights, which must be float32."""
    tensor = site.required_tensor(1)
    if tensor.dtype != "float32":
        raise site.refused(f"float activations with {tensor.dtype} weights; quantize both or none")
    return site.required_constant(1)


def _fields(site: KernelSite, weights: np.ndarray, bias_at: int, geometry: Fields) -> Fields:
    """The members of a struct, with dense weights or with packed ones."""
    bias = site.constant(bias_at)
    per_tap = site.operator.kind == "DEPTHWISE_CONV_2D"
    rows = np.moveaxis(weights, -1, 0) if per_tap else weights
    rows = rows.reshape(len(rows), -1)
    fields = {
        "bias": None if bias is None else Constant(site.name_of("bias", bias_at), bias.reshape(-1)),
        **geometry,
        "activation": activation_of(site),
    }
    if site.is_packed:
        return {**stored_fields(site, rows), **fields}
    fields["weights"] = Constant(site.name_of("weights", 1), weights.reshape(-1) if per_tap else in_blocks(rows))
    return fields


def _window(site: KernelSite, weights: np.ndarray) -> Fields:
    if weights.shape[1] > FLOAT_ROWS:
        raise site.refused(f"a filter of {weights.shape[1]} rows; the C program has at most {FLOAT_ROWS}")
    return {
        **window_fields(site),
        "out_channels": extent(site.output)[2],
        "filter_rows": weights.shape[1],
        "filter_columns": weights.shape[2],
    }


def _columns_of_vectors(site: KernelSite, tensor, operand, values: int) -> int:
    """Columns of a tensor whose pixels are the vectors; 0 where the vectors are contiguous runs of elements."""
    rows, columns, channels = extent(tensor)
    if channels == values:
        return columns
    if rows * columns > 1 and (operand.columns is None or operand.pitch != channels):
        raise site.refused(f"{tensor.name} is a part of another tensor; its elements do not follow one another")
    return 0
