"""From a schedule to the figures a user is shown.

`runtime_bytes` is what the C program holds besides arena and weights: the tables that drive it (`loops`), which are its
constants, and a bound on its stack. The tables are stored with the weights (RAM or flash, as the target says); the
stack is always RAM. Sizes are those of the program's structs where a pointer has 4 bytes. The stack is that of the
target's instruction set, by the table of `evaluation.kernels`; the machine that plans has no part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evaluation.graph import Graph, Operator
from evaluation.graph.geometry import COLUMNS, ROWS, padding_before, window_size
from evaluation.graph.regions import extent
from evaluation.kernels.contract import KernelCall, kernel_calls
from evaluation.kernels.stack_bounds import stack_bound_bytes
from evaluation.kernels.targets import Target
from evaluation.kernels.uses import kernel_uses
from evaluation.kernels.weights import multiplies_bytes, needs_unpacking, scalar_bytes, weights_bytes
from evaluation.planner.ir.loops import Loop, loops_of
from evaluation.planner.ir.plan_types import Plan

SECTION_BYTES = 24
"""Pointers to calls, rows and columns; five counts."""
CALL_BYTES = 20
"""Pointers to kernel, layer and places; working memory, span, counts of operands."""
PLACE_BYTES = 20
"""Offsets of tile and ring; rows of the ring, span, columns, pitch, channel, bits and kind."""
SPAN_BYTES = 4
"""First row (or column) and one past the last, for each row tile (or column tile) and span."""
COPY_BYTES = 2
"""A copy's channels."""
OUTPUT_BYTES = 8
"""Place and size of an output; of a single one they stand in the code."""
LAYER_BYTES = {
    "CONV_2D": (52, 60, 60, 36),
    "FULLY_CONNECTED": (52, 60, 60, 32),
    "DEPTHWISE_CONV_2D": (52, 60, 60, 36),
    "ADD": (28, 28, 44, 28),
    "QUANTIZE": (20, 16, 20, 20),
    "DEQUANTIZE": (20, 20, 20, 20),
    "AVERAGE_POOL_2D": (24, 24, 44, 16),
    "RESIZE_BILINEAR": (24, 24, 20, 20),
    "CONCATENATION": (32, 24, 32, 32),
    "ARG_MAX": (8, 8, 8, 4),
    "SOFTMAX": (20, 20, 20, 8),
    "RESHAPE": (32, 32, 32, 32),
    "PAD": (16, 16, 16, 16),
}
"""An operator's own constants (geometry, codes, pointers to weights) by kind: with int8 codes and dense int8 weights;
with codes of other widths or packed weights; of uint8; in float32."""
JOINED_BYTES = 9
"""For each input of a concatenation of narrow codes: multiplier, shift, zero point, channels."""
FLOAT_PACKED_BYTES = 40
"""Of a float convolution whose weights are stored sparse."""
MOST_LAYER_BYTES = 64
"""Bound for the other kinds."""
ARENA_ALIGNMENT_BYTES = 16
"""As `network.c` declares the arena."""


@dataclass(frozen=True)
class Account:
    """The memory of a plan by kind; `peak_memory_bytes` is the sum of what is RAM."""

    weights_bytes: int
    flash_bytes: int
    runtime_bytes: int
    peak_memory_bytes: int


def account(target: Target, arena_bytes: int, weights_bytes: int, tables_bytes: int, stack_bytes: int) -> Account:
    """Memory by the target's rules."""
    if target.weights_in_ram:
        runtime = tables_bytes + stack_bytes
        return Account(weights_bytes, 0, runtime, arena_bytes + weights_bytes + runtime)
    return Account(weights_bytes, weights_bytes + tables_bytes, stack_bytes, arena_bytes + stack_bytes)


def stack_bytes(graph: Graph, calls: Sequence[KernelCall], target: Target) -> int:
    """The deepest stack of the program of a network on a target, the largest of all compilers listed.

    Rounded up, so that the arena may begin where the stack ends.
    """
    unit = max(ARENA_ALIGNMENT_BYTES, target.alignment_bytes)
    return -(-stack_bound_bytes(target.instruction_set, kernel_uses(graph, calls)) // unit) * unit


def restated(made: Plan, graph: Graph, target: Target) -> Plan:
    """A plan with the figures that this version gives for its schedule: one that was saved before may say others."""
    tables = tables_bytes(graph, loops_of(graph, made.sections, made.groups, made.buffers))
    sums = account(
        target, made.arena_bytes, weights_bytes(graph), tables, stack_bytes(graph, kernel_calls(graph), target)
    )
    return replace(
        made,
        weights_bytes=sums.weights_bytes,
        flash_bytes=sums.flash_bytes,
        runtime_bytes=sums.runtime_bytes,
        peak_memory_bytes=sums.peak_memory_bytes,
    )


def tables_bytes(graph: Graph, loops: Sequence[Loop]) -> int:
    """Bytes of the program's tables."""
    calls = [call for loop in loops for call in loop.calls]
    spans = sum(len(loop.spans) * (loop.section.rows + loop.section.columns) for loop in loops)
    places = sum(len(call.reads) + len(call.writes) for call in calls)
    layers = {call.operators[0] for call in calls if call.operators}
    copies = {graph.tensors[call.reads[0].tensor].shape[-1] for call in calls if not call.operators}
    return (
        SECTION_BYTES * len(loops)
        + CALL_BYTES * len(calls)
        + PLACE_BYTES * places
        + SPAN_BYTES * spans
        + sum(_layer_bytes(graph, index) for index in layers)
        - sum(scalar_bytes(graph, index) for index in range(len(graph.operators)))  # counted with the weights
        + COPY_BYTES * len(copies)
        + (OUTPUT_BYTES * len(graph.outputs) if len(graph.outputs) > 1 else 0)
        + _padding_bytes(graph)
    )


def _layer_bytes(graph: Graph, index: int) -> int:
    """Of an operator's own constants, in the struct that its kernel reads."""
    operator = graph.operators[index]
    if operator.kind not in LAYER_BYTES:
        return MOST_LAYER_BYTES
    dense, other, unsigned, real = LAYER_BYTES[operator.kind]
    output = graph.tensors[operator.outputs[0]]
    if output.dtype == "float32":
        return FLOAT_PACKED_BYTES if needs_unpacking(graph, index) else real
    if graph.tensors[operator.inputs[0]].dtype == "uint8" and operator.kind != "QUANTIZE":
        return unsigned
    if operator.kind == "QUANTIZE":
        return dense if graph.tensors[operator.inputs[0]].bits == output.bits == 8 else other
    if _is_dense_int8(graph, index):
        return dense
    return other + (JOINED_BYTES * len(operator.inputs) if operator.kind == "CONCATENATION" else 0)


def _is_dense_int8(graph: Graph, index: int) -> bool:
    operator = graph.operators[index]
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    return (source.dtype, source.bits, output.bits) == ("int8", 8, 8) and not needs_unpacking(graph, index)


def _padding_bytes(graph: Graph) -> int:
    """Of the pixels of zero points that convolutions read beyond an edge; those of one value share the longest."""
    longest: dict[int, int] = {}
    for index, zero in padding_zeros(graph).items():
        channels = graph.tensors[graph.operators[index].inputs[0]].shape[-1]
        longest[zero] = max(longest.get(zero, 0), channels)
    return sum(longest.values())


def padding_zeros(graph: Graph) -> dict[int, int]:
    """The code that stands for zero, of each operator that reads pixels of it beyond an edge."""
    zeros = {}
    for index, operator in enumerate(graph.operators):
        source = graph.tensors[operator.inputs[0]]
        if operator.kind == "CONV_2D" and multiplies_bytes(graph, index) and _reaches_over_an_edge(graph, operator):
            zeros[index] = int(source.quantization.zero_point[0]) if source.quantization is not None else 0
    return zeros


def _reaches_over_an_edge(graph: Graph, operator: Operator) -> bool:
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    before, window = padding_before(graph, operator), window_size(graph, operator)
    stride, dilation = operator.attributes["stride"], operator.attributes.get("dilation", (1, 1))
    return any(
        before[axis] > 0
        or (extent(output)[axis] - 1) * stride[axis] + (window[axis] - 1) * dilation[axis] >= extent(source)[axis]
        for axis in (ROWS, COLUMNS)
    )
