"""Descriptors of functions of one quantized value: LOGISTIC, TANH, HARD_SWISH, LEAKY_RELU and ELU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deeplab.runtime.layer import Constant, Fields, Fillers, KernelSite
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.interpreter.requantize import integer_range, scale_of
from evaluation.interpreter.table import elu_real, hard_swish_real
from evaluation.interpreter.table16 import OUTPUT_SCALE, function_table, sigmoid_scaling, sigmoid_table
from evaluation.interpreter.whole import run_whole
from evaluation.kernels.descriptors import int8, low_bit


def table(site: KernelSite) -> Fields:
    """A table of the interpreter's outputs for all 256 inputs, by the byte."""
    entries = _outputs(site, np.arange(256, dtype=np.uint8).view(site.source.dtype))
    fields: Fields = {
        "entries": Constant(f"table_{site.number}", entries.view(np.uint8)),
        "channels": extent(site.source)[2],
    }
    return fields


def low_bit_table(site: KernelSite) -> Fields:
    """A table of the interpreter's outputs for all inputs, from the smallest on."""
    lowest, highest = integer_range(site.source)
    fields: Fields = {
        "entries": Constant(f"table_{site.number}", _outputs(site, np.arange(lowest, highest + 1, dtype=np.int8))),
        "channels": extent(site.source)[2],
        "lowest": lowest,
    }
    return fields


def sigmoid(site: KernelSite) -> Fields:
    """LOGISTIC or TANH of int16."""
    if scale_of(site.output) != OUTPUT_SCALE:
        raise site.refused(f"the scale of its output of 16 bits is {scale_of(site.output):g}; quantize it with 2^-15")
    multiplier, shift = sigmoid_scaling(scale_of(site.source))
    fields: Fields = {
        "entries": Constant(f"table_{site.number}", sigmoid_table()),
        "multiplier": multiplier,
        "half": (1 << shift) >> 1,
        "channels": extent(site.source)[2],
        "shift": shift,
        "is_tanh": site.operator.kind == "TANH",
    }
    return fields


def interpolation(site: KernelSite) -> Fields:
    """HARD_SWISH or ELU of int16."""
    function = hard_swish_real if site.operator.kind == "HARD_SWISH" else elu_real
    entries = function_table(function, site.source, site.output)
    fields: Fields = {
        "entries": Constant(f"table_{site.number}", entries.astype(np.int16)),
        "channels": extent(site.source)[2],
    }
    return fields


FILLERS: Fillers = {
    int8.TABLE: table,
    low_bit.TABLE: low_bit_table,
    low_bit.SIGMOID: sigmoid,
    low_bit.INTERPOLATION: interpolation,
}


def _outputs(site: KernelSite, inputs: np.ndarray) -> np.ndarray:
    """The interpreter's outputs for given inputs (n,)."""
    shape = (1, 1, inputs.size, 1)
    operator = replace(site.operator, inputs=(0,), outputs=(1,))
    tensors = replace(site.source, shape=shape), replace(site.output, shape=shape)
    graph = Graph(site.graph.name, tensors, (operator,), (0,), (1,))
    return run_whole(graph, inputs.reshape(shape))[1].reshape(-1)
