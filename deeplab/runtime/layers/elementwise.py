"""Descriptors of ADD and requantization on 8-bit values."""

from __future__ import annotations

from deeplab.runtime.layer import Fields, Fillers, KernelSite
from evaluation.graph.regions import extent
from evaluation.interpreter.requantize import (
    activation_range,
    activation_ratio,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)
from evaluation.kernels.descriptors import int8

ADD_LEFT_SHIFT = 20


def requantize(site: KernelSite) -> Fields:
    """QUANTIZE between 8-bit values, and unfused RELU, RELU6 and RELU_N1_TO_1, which differ in multiplier and
    bounds."""
    source, output, kind = site.source, site.output, site.operator.kind
    is_change = kind == "QUANTIZE"
    ratio = float(scale_of(source)) / float(scale_of(output)) if is_change else activation_ratio(source, output)
    mantissa, exponent = quantize_multiplier(ratio)
    lowest, highest = activation_range("NONE" if is_change else kind, output)
    return {
        "multiplier": mantissa,
        "shift": exponent,
        "in_zero": zero_point_of(source),
        "out_zero": zero_point_of(output),
        "lowest": lowest,
        "highest": highest,
        "channels": extent(output)[2],
        "from_unsigned": source.dtype == "uint8",
        "to_unsigned": output.dtype == "uint8",
    }


def add(site: KernelSite) -> Fields:
    """ADD of two int8 tensors of one shape."""
    reads = [site.graph.tensors[operand.tensor] for operand in site.call.reads]
    twice_largest = 2.0 * max(float(scale_of(t)) for t in reads)
    reals = [float(scale_of(t)) / twice_largest for t in reads]
    reals.append(twice_largest / ((1 << ADD_LEFT_SHIFT) * float(scale_of(site.output))))
    pairs = [quantize_multiplier(real) for real in reals]
    lowest, highest = activation_range(site.operator.attributes.get("activation", "NONE"), site.output)
    return {
        "multipliers": tuple(mantissa for mantissa, _ in pairs),
        "shifts": tuple(exponent for _, exponent in pairs),
        "zeros": tuple(zero_point_of(t) for t in (*reads, site.output)),
        "lowest": lowest,
        "highest": highest,
        "channels": extent(site.output)[2],
    }


FILLERS: Fillers = {int8.ADD: add, int8.REQUANTIZE: requantize}
