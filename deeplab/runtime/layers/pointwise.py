"""Operators that treat each element, or each pixel, alone, on 8-bit codes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from deeplab.runtime.layer import Constant, KernelDescriptor, KernelSite, Makers, Value
from deeplab.runtime.layers.elementwise import requantize
from deeplab.runtime.layers.window_ops import is_code
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.interpreter.requantize import (
    activation_range,
    activation_ratio,
    integer_range,
    quantization_of,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)
from evaluation.interpreter.softmax import INPUT_INTEGER_BITS, LARGEST
from evaluation.interpreter.whole import run_whole


def table(site: KernelSite) -> KernelDescriptor | None:
    """LOGISTIC, TANH, HARD_SWISH and LEAKY_RELU: what the interpreter makes of each of the 256 codes."""
    source, output = site.source, site.output
    if not is_code(source) or not is_code(output):
        return None
    shape = (1, 1, 256, 1)
    every = np.arange(256, dtype=np.uint8).view(source.dtype).reshape(shape)
    operator = replace(site.operator, inputs=(0,), outputs=(1,))
    tensors = replace(source, shape=shape), replace(output, shape=shape)
    entries = run_whole(Graph(site.graph.name, tensors, (operator,), (0,), (1,)), every)[1]
    fields: dict[str, Value] = {
        "entries": Constant(f"table_{site.number}", entries.reshape(-1).view(np.uint8)),
        "channels": extent(source)[2],
    }
    return KernelDescriptor("int8/lookup", "table", "table_layer", fields)


def activation(site: KernelSite) -> KernelDescriptor | None:
    """RELU, RELU6 and RELU_N1_TO_1 as operators of their own: a change of quantization with other bounds."""
    layer = requantize(site)
    if layer is None or site.source.dtype != site.output.dtype:
        return None
    mantissa, exponent = quantize_multiplier(activation_ratio(site.source, site.output))
    lowest, highest = activation_range(site.operator.kind, site.output)
    changed = {"multiplier": mantissa, "shift": exponent, "lowest": lowest, "highest": highest}
    return replace(layer, fields={**layer.fields, **changed})


def quantize_real(site: KernelSite) -> KernelDescriptor | None:
    """QUANTIZE of float32."""
    output = site.output
    if site.source.dtype != "float32" or not is_code(output):
        return None
    lowest, highest = integer_range(output)
    fields: dict[str, Value] = {
        "scale": scale_of(output),
        "zero": float(zero_point_of(output)),
        "channels": extent(output)[2],
        "lowest": lowest,
        "highest": highest,
        "is_unsigned": output.dtype == "uint8",
    }
    return KernelDescriptor("int8/quantize", "quantize_real", "real_codes_layer", fields)


def dequantize(site: KernelSite) -> KernelDescriptor | None:
    """DEQUANTIZE to float32; here a zero point may be between two codes."""
    source = site.source
    if not is_code(source) or site.output.dtype != "float32":
        return None
    fields: dict[str, Value] = {
        "scale": scale_of(source),
        "zero": float(quantization_of(source).zero_point[0]),
        "channels": extent(source)[2],
        "is_unsigned": source.dtype == "uint8",
    }
    return KernelDescriptor("int8/quantize", "dequantize", "real_codes_layer", fields)


def softmax(site: KernelSite) -> KernelDescriptor | None:
    source, output = site.source, site.output
    if not is_code(source) or not is_code(output):
        return None
    _require_channels_last(site)
    real = min(
        site.operator.attributes["beta"] * float(scale_of(source)) * (1 << (31 - INPUT_INTEGER_BITS)), float(LARGEST)
    )
    mantissa, exponent = quantize_multiplier(real)
    smallest = -math.floor(((1 << INPUT_INTEGER_BITS) - 1) * (1 << (31 - INPUT_INTEGER_BITS)) / (1 << exponent))
    lowest, highest = integer_range(output)
    fields: dict[str, Value] = {
        "multiplier": mantissa,
        "smallest": smallest,
        "lowest": lowest,
        "highest": highest,
        "channels": extent(source)[2],
        "shift": exponent,
        "is_unsigned": source.dtype == "uint8",
    }
    return KernelDescriptor("int8/softmax", "softmax", "softmax_layer", fields)


def argmax(site: KernelSite) -> KernelDescriptor | None:
    """ARG_MAX over the channels."""
    source, output = site.source, site.output
    if not is_code(source) or output.dtype not in ("int32", "int64"):
        return None
    _require_channels_last(site)
    if site.operator.attributes["axis"] % len(source.shape) != len(source.shape) - 1:
        raise site.refused("the class can be chosen along the last axis only")
    if extent(output) != (*extent(source)[:2], 1):
        raise site.refused("export the network with images of shape (1, rows, columns, channels)")
    fields: dict[str, Value] = {"channels": extent(source)[2], "is_unsigned": source.dtype == "uint8"}
    return KernelDescriptor("int8/argmax", "argmax", "argmax_layer", fields)


LAYERS: Makers = {
    **{(kind,): table for kind in ("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU")},
    **{(kind,): activation for kind in ("RELU", "RELU6", "RELU_N1_TO_1")},
    ("QUANTIZE",): quantize_real,
    ("DEQUANTIZE",): dequantize,
    ("SOFTMAX",): softmax,
    ("ARG_MAX",): argmax,
}


def _require_channels_last(site: KernelSite) -> None:
    if extent(site.source)[2] != site.source.shape[-1]:
        raise site.refused(
            f"the shape {site.source.shape} cannot be run; export the network with images of shape "
            "(1, rows, columns, channels)"
        )
