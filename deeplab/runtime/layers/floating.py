"""Descriptors of operators on float32 without weights: element-wise, pools, resizing, SOFTMAX and ARG_MAX."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from deeplab.runtime.layers.convolution import window_fields
from evaluation.graph import Tensor
from evaluation.graph.regions import extent
from evaluation.kernels.constants import MOST_FLOAT_AXES, FloatActivation
from evaluation.kernels.descriptors import float32
from evaluation.kernels.descriptors.float32 import FloatBinaryKind, FloatUnaryKind


def activation_of(site: KernelSite) -> FloatActivation:
    """The fused activation, or the operator itself for RELU, RELU6 and RELU_N1_TO_1."""
    kind = site.operator.kind
    name = f"FLOAT_{kind if kind.startswith('RELU') else site.operator.attributes.get('activation', 'NONE')}"
    return FloatActivation[name]


def binary(site: KernelSite) -> Fields:
    """Element-wise operators of two operands, one of which may be constant."""
    operands = [site.required_tensor(position) for position in (0, 1)]
    shapes = [_broadcast_shape(site, tensor) for tensor in operands]
    kind = site.operator.kind
    return {
        "first": _values_of(site, 0),
        "second": _values_of(site, 1),
        "channels": extent(site.output)[2],
        "shapes": (*shapes[0], *shapes[1]),
        "kind": FloatBinaryKind[f"FLOAT_{kind}"],
        "activation": activation_of(site),
        "reshaped": tuple(
            not tensor.is_constant and shape != extent(tensor) for tensor, shape in zip(operands, shapes, strict=True)
        ),
    }


def unary(site: KernelSite) -> Fields:
    """Activations and other element-wise functions."""
    kind = site.operator.kind
    return {
        "alpha": float(site.operator.attributes.get("alpha", 0.0)),
        "channels": extent(site.output)[2],
        "kind": FloatUnaryKind.FLOAT_ACTIVATION if kind.startswith("RELU") else FloatUnaryKind[f"FLOAT_{kind}"],
        "activation": activation_of(site),
    }


def softmax(site: KernelSite) -> Fields:
    """SOFTMAX over the channels."""
    _require_channels_last(site)
    fields: Fields = {"beta": float(site.operator.attributes["beta"]), "channels": extent(site.source)[2]}
    return fields


def argmax(site: KernelSite) -> Fields:
    """ARG_MAX over the channels."""
    source = site.source
    _require_channels_last(site)
    if site.operator.attributes["axis"] % len(source.shape) != len(source.shape) - 1:
        raise site.refused("ARG_MAX can be run along the last axis only")
    return {"channels": extent(source)[2]}


def mean(site: KernelSite) -> Fields:
    """MEAN and SUM over any axes."""
    source, output = site.source, site.output
    ones = MOST_FLOAT_AXES - len(source.shape)
    if ones < 0:
        raise site.refused(f"the C program sums tensors of at most {MOST_FLOAT_AXES} axes, not of shape {source.shape}")
    summed = {axis % len(source.shape) for axis in site.operator.attributes["axes"]}
    return {
        "count": _count(site),
        "shape": (1,) * ones + source.shape,
        "in_columns": extent(source)[1],
        "in_channels": extent(source)[2],
        "out_columns": extent(output)[1],
        "out_channels": extent(output)[2],
        "is_summed": tuple(axis - ones in summed for axis in range(MOST_FLOAT_AXES)),
    }


def pool(site: KernelSite) -> Fields:
    """AVERAGE_POOL_2D and MAX_POOL_2D with a sliding window."""
    filter_rows, filter_columns = site.operator.attributes["filter"]
    names = ("in_rows", "in_columns", "stride_rows", "stride_columns", "before_rows", "before_columns")
    window = window_fields(site)
    return {
        "channels": extent(site.source)[2],
        **{name: window[name] for name in names},
        "filter_rows": filter_rows,
        "filter_columns": filter_columns,
        "is_max": site.operator.kind == "MAX_POOL_2D",
        "activation": activation_of(site),
    }


def global_mean(site: KernelSite) -> Fields:
    """AVERAGE_POOL_2D, MEAN and SUM over all rows and columns."""
    rows, columns, channels = extent(site.source)
    return {
        "count": _count(site),
        "channels": channels,
        "in_rows": rows,
        "in_columns": columns,
        "activation": activation_of(site),
    }


def resize(site: KernelSite) -> Fields:
    """RESIZE_BILINEAR, alone and fused with ARG_MAX."""
    rows_in, columns_in, channels = extent(site.source)
    size_out = extent(site.graph.tensors[site.operator.outputs[0]])
    attributes = site.operator.attributes

    def step(size_in: int, size_out: int) -> float:
        aligned = attributes["align_corners"] and size_out > 1
        return float(np.float32(size_in - aligned) / np.float32(size_out - aligned))

    return {
        "step_rows": step(rows_in, size_out[0]),
        "step_columns": step(columns_in, size_out[1]),
        "channels": channels,
        "in_rows": rows_in,
        "in_columns": columns_in,
        "half_pixel": attributes["half_pixel_centers"],
    }


FILLERS: Fillers = {
    float32.BINARY: binary,
    float32.UNARY: unary,
    float32.SOFTMAX: softmax,
    float32.ARGMAX: argmax,
    float32.POOL: pool,
    float32.MEAN: mean,
    float32.GLOBAL_MEAN: global_mean,
    float32.RESIZE_BILINEAR: resize,
    float32.RESIZE_ARGMAX: resize,
}


def _count(site: KernelSite) -> float:
    """Divisor of the sums."""
    return 1.0 if site.operator.kind == "SUM" else float(np.float32(site.source.elements // site.output.elements))


def _values_of(site: KernelSite, position: int) -> Constant | None:
    """The values of a constant operand, None for a tensor."""
    if not site.required_tensor(position).is_constant:
        return None
    return Constant(site.name_of("values", position), site.required_constant(position).astype(np.float32).reshape(-1))


def _broadcast_shape(site: KernelSite, tensor: Tensor) -> tuple[int, int, int]:
    """(rows, columns, channels) of an operand, its axes matched with the output's from the last on."""
    output = site.output
    shape = extent(tensor)
    if len(tensor.shape) < len(output.shape) == 4:
        rows, columns, channels = (1, 1, 1, *tensor.shape)[-3:]
        shape = rows, columns, channels
    if any(size not in (1, whole) for size, whole in zip(shape, extent(output), strict=True)):
        raise site.refused(f"an operand of shape {tensor.shape} cannot be broadcast to {output.shape}")
    return shape


def _require_channels_last(site: KernelSite) -> None:
    source = site.source
    if extent(source)[2] != source.shape[-1]:
        raise site.refused(
            f"the shape {source.shape} cannot be run; export the network with images of shape "
            "(1, rows, columns, channels)"
        )
