"""Operators that treat each element alone, on 8-bit codes."""

from __future__ import annotations

from deeplab.runtime.layer import KernelDescriptor, KernelSite, Makers
from evaluation.graph.regions import extent
from evaluation.interpreter.requantize import (
    activation_range,
    integer_range,
    quantize_multiplier,
    scale_of,
    zero_point_of,
)

ADD_LEFT_SHIFT = 20


def requantize(site: KernelSite) -> KernelDescriptor | None:
    """QUANTIZE between 8-bit codes."""
    source, output = site.source, site.output
    if {source.dtype, output.dtype} - {"int8", "uint8"} or (source.bits, output.bits) != (8, 8):
        return None
    mantissa, exponent = quantize_multiplier(float(scale_of(source)) / float(scale_of(output)))
    lowest, highest = integer_range(output)
    return KernelDescriptor(
        "int8/requantize",
        "requantize",
        "requantize_layer",
        {
            "multiplier": mantissa,
            "shift": exponent,
            "in_zero": zero_point_of(source),
            "out_zero": zero_point_of(output),
            "lowest": lowest,
            "highest": highest,
            "channels": extent(output)[2],
            "from_unsigned": source.dtype == "uint8",
            "to_unsigned": output.dtype == "uint8",
        },
    )


def add(site: KernelSite) -> KernelDescriptor | None:
    """ADD of two int8 tensors of one shape."""
    reads = [site.graph.tensors[place.tensor] for place in site.call.reads]
    if len(reads) != 2 or any(t.shape != site.output.shape for t in reads):
        return None
    if any((t.dtype, t.bits) != ("int8", 8) for t in (*reads, site.output)):
        return None
    twice_largest = 2.0 * max(float(scale_of(t)) for t in reads)
    reals = [float(scale_of(t)) / twice_largest for t in reads]
    reals.append(twice_largest / ((1 << ADD_LEFT_SHIFT) * float(scale_of(site.output))))
    pairs = [quantize_multiplier(real) for real in reals]
    lowest, highest = activation_range(site.operator.attributes.get("activation", "NONE"), site.output)
    return KernelDescriptor(
        "int8/add",
        "add",
        "add_layer",
        {
            "multipliers": tuple(mantissa for mantissa, _ in pairs),
            "shifts": tuple(exponent for _, exponent in pairs),
            "zeros": tuple(zero_point_of(t) for t in (*reads, site.output)),
            "lowest": lowest,
            "highest": highest,
            "channels": extent(site.output)[2],
        },
    )


LAYERS: Makers = {("QUANTIZE",): requantize, ("ADD",): add}
