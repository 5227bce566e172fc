"""Operators on float32 that have no weights: element by element, pools, resizing, SOFTMAX, ARG_MAX."""

from __future__ import annotations

import numpy as np

from deeplab.runtime.layer import Constant, KernelDescriptor, KernelSite, Makers, Value
from deeplab.runtime.layers.convolution import window_fields
from evaluation.graph import ABSENT, Tensor
from evaluation.graph.regions import extent
from evaluation.kernels.contract import is_global_reduction

ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU6": 2, "RELU_N1_TO_1": 3}
"""`enum float_activation` of `c/float/arithmetic.h`."""
BINARY = {"ADD": 0, "SUB": 1, "MUL": 2, "DIV": 3, "MINIMUM": 4, "MAXIMUM": 5, "PRELU": 6}
"""`enum float_binary_kind` of `c/float/binary.h`."""
UNARY = {"RELU": 0, "RELU6": 0, "RELU_N1_TO_1": 0, "HARD_SWISH": 1, "LEAKY_RELU": 2, "LOGISTIC": 3, "TANH": 4}
"""`enum float_unary_kind` of `c/float/unary.h`."""
MOST_AXES = 4


def is_float(*tensors: Tensor) -> bool:
    return all((t.dtype, t.bits) == ("float32", 32) for t in tensors)


def activation_of(site: KernelSite) -> int:
    return ACTIVATIONS[site.operator.attributes.get("activation", "NONE")]


def binary(site: KernelSite) -> KernelDescriptor | None:
    """Sums, products and choices of two operands, one of which may be constant."""
    if not is_float(site.output) or ABSENT in site.operator.inputs:
        return None
    operands = [site.required_tensor(position) for position in (0, 1)]
    shapes = [_broadcast_shape(site, tensor) for tensor in operands]
    kind = site.operator.kind
    return KernelDescriptor(
        "float/binary",
        "float_binary",
        "float_binary_layer",
        {
            "first": _values_of(site, 0),
            "second": _values_of(site, 1),
            "channels": extent(site.output)[2],
            "shapes": (*shapes[0], *shapes[1]),
            "kind": BINARY[kind],
            "activation": ACTIVATIONS["NONE"] if kind in ("MINIMUM", "MAXIMUM", "PRELU") else activation_of(site),
            "reshaped": tuple(
                not tensor.is_constant and shape != extent(tensor)
                for tensor, shape in zip(operands, shapes, strict=True)
            ),
        },
    )


def unary(site: KernelSite) -> KernelDescriptor | None:
    """Activations and other functions of one element."""
    if not is_float(site.source, site.output):
        return None
    kind = site.operator.kind
    return KernelDescriptor(
        "float/unary",
        "float_unary",
        "float_unary_layer",
        {
            "alpha": float(site.operator.attributes.get("alpha", 0.0)),
            "channels": extent(site.output)[2],
            "kind": UNARY[kind],
            "activation": ACTIVATIONS.get(kind, 0),
        },
    )


def softmax(site: KernelSite) -> KernelDescriptor | None:
    if not is_float(site.source, site.output):
        return None
    _require_channels_last(site)
    fields = {"beta": float(site.operator.attributes["beta"]), "channels": extent(site.source)[2]}
    return KernelDescriptor("float/softmax", "float_softmax", "float_softmax_layer", fields)


def argmax(site: KernelSite) -> KernelDescriptor | None:
    source = site.source
    if not is_float(source):
        return None
    _require_channels_last(site)
    if site.operator.attributes["axis"] % len(source.shape) != len(source.shape) - 1:
        raise site.refused("ARG_MAX can be run along the last axis only")
    return KernelDescriptor("float/argmax", "float_argmax", "float_argmax_layer", {"channels": extent(source)[2]})


def average_pool(site: KernelSite) -> KernelDescriptor | None:
    if is_float(site.output) and is_global_reduction(site.graph, site.operator):
        return _global_mean(site)
    return _pool(site, is_max=False)


def max_pool(site: KernelSite) -> KernelDescriptor | None:
    return _pool(site, is_max=True)


def mean(site: KernelSite) -> KernelDescriptor | None:
    """MEAN and SUM over any axes."""
    source, output = site.source, site.output
    if not is_float(source, output):
        return None
    if is_global_reduction(site.graph, site.operator):
        return _global_mean(site)
    ones = MOST_AXES - len(source.shape)
    if ones < 0:
        raise site.refused(f"the C program sums tensors of at most {MOST_AXES} axes, not of shape {source.shape}")
    summed = {axis % len(source.shape) for axis in site.operator.attributes["axes"]}
    return KernelDescriptor(
        "float/mean",
        "float_mean",
        "float_mean_layer",
        {
            "count": _count(site),
            "shape": (1,) * ones + source.shape,
            "in_columns": extent(source)[1],
            "in_channels": extent(source)[2],
            "out_columns": extent(output)[1],
            "out_channels": extent(output)[2],
            "is_summed": tuple(axis - ones in summed for axis in range(MOST_AXES)),
        },
    )


def resize_bilinear(site: KernelSite) -> KernelDescriptor | None:
    if not is_float(site.source, site.output):
        return None
    return KernelDescriptor("float/resize", "float_resize_bilinear", "float_resize_layer", _resize_fields(site))


def resize_argmax(site: KernelSite) -> KernelDescriptor | None:
    if not is_float(site.source):
        return None
    return KernelDescriptor("float/resize", "float_resize_argmax", "float_resize_layer", _resize_fields(site))


LAYERS: Makers = {
    **{(kind,): binary for kind in BINARY},
    **{(kind,): unary for kind in UNARY},
    ("SOFTMAX",): softmax,
    ("ARG_MAX",): argmax,
    ("AVERAGE_POOL_2D",): average_pool,
    ("MAX_POOL_2D",): max_pool,
    ("MEAN",): mean,
    ("SUM",): mean,
    ("RESIZE_BILINEAR",): resize_bilinear,
    ("RESIZE_BILINEAR", "ARG_MAX"): resize_argmax,
}


def _pool(site: KernelSite, *, is_max: bool) -> KernelDescriptor | None:
    if not is_float(site.source, site.output):
        return None
    filter_rows, filter_columns = site.operator.attributes["filter"]
    names = ("in_rows", "in_columns", "stride_rows", "stride_columns", "before_rows", "before_columns")
    window = window_fields(site)
    return KernelDescriptor(
        "float/pool",
        "float_pool",
        "float_pool_layer",
        {
            "channels": extent(site.source)[2],
            **{name: window[name] for name in names},
            "filter_rows": filter_rows,
            "filter_columns": filter_columns,
            "is_max": is_max,
            "activation": activation_of(site),
        },
    )


def _global_mean(site: KernelSite) -> KernelDescriptor:
    rows, columns, channels = extent(site.source)
    return KernelDescriptor(
        "float/mean",
        "float_global_mean",
        "float_global_mean_layer",
        {
            "count": _count(site),
            "channels": channels,
            "in_rows": rows,
            "in_columns": columns,
            "activation": activation_of(site),
        },
    )


def _count(site: KernelSite) -> float:
    """What the sums are divided by."""
    return 1.0 if site.operator.kind == "SUM" else float(np.float32(site.source.elements // site.output.elements))


def _resize_fields(site: KernelSite) -> dict[str, Value]:
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


def _values_of(site: KernelSite, position: int) -> Constant | None:
    """A constant operand's values."""
    if not site.required_tensor(position).is_constant:
        return None
    return Constant(site.name_of("values", position), site.required_constant(position).astype(np.float32).reshape(-1))


def _broadcast_shape(site: KernelSite, tensor: Tensor) -> tuple[int, int, int]:
    """Rows, columns and channels of an operand as it is broadcast; axes are matched from the last one."""
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
