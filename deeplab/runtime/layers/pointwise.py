"""Descriptors of point-wise operators on 8-bit values: QUANTIZE, DEQUANTIZE, SOFTMAX and ARG_MAX."""

from __future__ import annotations

import math

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from evaluation.graph.regions import extent
from evaluation.interpreter.elementwise import pixel_tables
from evaluation.interpreter.requantize import (
    integer_range,
    quantization_of,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)
from evaluation.interpreter.softmax import INPUT_INTEGER_BITS, LARGEST
from evaluation.kernels.descriptors import int8, low_bit


def quantize_real(site: KernelSite) -> Fields:
    """QUANTIZE from float32."""
    output = site.output
    lowest, highest = integer_range(output)
    fields: Fields = {
        "scale": scale_of(output),
        "zero": float(zero_point_of(output)),
        "channels": extent(output)[2],
        "lowest": lowest,
        "highest": highest,
        "is_unsigned": output.dtype == "uint8",
    }
    return fields


def dequantize(site: KernelSite) -> Fields:
    """DEQUANTIZE; the zero point need not be an integer."""
    source = site.source
    fields: Fields = {
        "scale": scale_of(source),
        "zero": float(quantization_of(source).zero_point[0]),
        "channels": extent(source)[2],
        "is_unsigned": source.dtype == "uint8",
    }
    return fields


def dequantize_channels(site: KernelSite) -> Fields:
    """DEQUANTIZE by channel."""
    source, number = site.source, site.number
    parameters = quantization_of(source)
    return {
        "scales": Constant(f"pixel_scales_{number}", parameters.scale.astype(np.float32)),
        "zeros": Constant(f"pixel_zeros_{number}", parameters.zero_point.astype(np.float32)),
        "channels": extent(source)[2],
        "is_unsigned": source.dtype == "uint8",
    }


def tables_of_pixels(site: KernelSite) -> Fields:
    """QUANTIZE of a frame by a table for each channel."""
    entries = pixel_tables(site.source, site.output).astype(np.dtype(site.output.dtype).newbyteorder("<"))
    return {
        "entries": Constant(f"pixel_tables_{site.number}", entries.reshape(-1).view(np.uint8)),
        "channels": extent(site.source)[2],
    }


def softmax(site: KernelSite) -> Fields:
    """SOFTMAX over the channels, in fixed point."""
    source, output = site.source, site.output
    _require_channels_last(site)
    real = min(
        site.operator.attributes["beta"] * float(scale_of(source)) * (1 << (31 - INPUT_INTEGER_BITS)), float(LARGEST)
    )
    mantissa, exponent = quantize_multiplier(real)
    smallest = -math.floor(((1 << INPUT_INTEGER_BITS) - 1) * (1 << (31 - INPUT_INTEGER_BITS)) / (1 << exponent))
    lowest, highest = integer_range(output)
    fields: Fields = {
        "multiplier": mantissa,
        "smallest": smallest,
        "lowest": lowest,
        "highest": highest,
        "channels": extent(source)[2],
        "shift": exponent,
        "is_unsigned": source.dtype == "uint8",
    }
    return fields


def argmax(site: KernelSite) -> Fields:
    """ARG_MAX over the channels."""
    source, output = site.source, site.output
    _require_channels_last(site)
    if site.operator.attributes["axis"] % len(source.shape) != len(source.shape) - 1:
        raise site.refused("the class can be chosen along the last axis only")
    if extent(output) != (*extent(source)[:2], 1):
        raise site.refused("export the network with images of shape (1, rows, columns, channels)")
    fields: Fields = {"channels": extent(source)[2], "is_unsigned": source.dtype == "uint8"}
    return fields


def low_bit_argmax(site: KernelSite) -> Fields:
    """ARG_MAX over the channels of values of any width."""
    return {"channels": argmax(site)["channels"]}


FILLERS: Fillers = {
    int8.QUANTIZE_REAL: quantize_real,
    int8.DEQUANTIZE: dequantize,
    int8.DEQUANTIZE_CHANNELS: dequantize_channels,
    int8.PIXEL_TABLES: tables_of_pixels,
    int8.SOFTMAX: softmax,
    int8.ARGMAX: argmax,
    low_bit.ARGMAX: low_bit_argmax,
}


def _require_channels_last(site: KernelSite) -> None:
    if extent(site.source)[2] != site.source.shape[-1]:
        raise site.refused(
            f"the shape {site.source.shape} cannot be run; export the network with images of shape "
            "(1, rows, columns, channels)"
        )
