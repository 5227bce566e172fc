"""The memory figures of a plan that a user is shown, computed from its schedule.

`runtime_bytes` is the memory of the C program besides arena and weights: the tables that drive it (`loops`), which are
its constants, and a bound on its stack. The tables are stored with the weights (RAM or flash, as the target says); the
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
from evaluation.kernels.registry import COPY
from evaluation.kernels.selection import descriptor_bytes, kernel_of
from evaluation.kernels.stack_bounds import stack_bound_bytes
from evaluation.kernels.tables import CALL, INTERVAL_BYTES, OPERAND, SECTION
from evaluation.kernels.targets import Target
from evaluation.kernels.uses import kernel_uses
from evaluation.kernels.weights import scalar_bytes, weights_bytes
from evaluation.planner.ir.loops import Loop, loops_of
from evaluation.planner.ir.plan_types import Plan

OUTPUT_BYTES = 8
"""An output: address and size; those of a single output are in the code."""
ARENA_ALIGNMENT_BYTES = 16
"""Alignment of the arena, as `network.c` declares it."""


@dataclass(frozen=True)
class Account:
    """The memory of a plan by kind; `peak_memory_bytes` is the sum of the kinds in RAM."""

    weights_bytes: int
    flash_bytes: int
    runtime_bytes: int
    peak_memory_bytes: int


def account(target: Target, arena_bytes: int, weights_bytes: int, tables_bytes: int, stack_bytes: int) -> Account:
    """The memory of a plan by the target's rules."""
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
    """A plan with the figures of this version for its schedule: a plan saved by another version may hold others."""
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
    operands = sum(len(call.reads) + len(call.writes) for call in calls)
    layers = {call.operators for call in calls if call.operators}
    copies = {graph.tensors[call.reads[0].tensor].shape[-1] for call in calls if not call.operators}
    return (
        SECTION.size_bytes * len(loops)
        + CALL.size_bytes * len(calls)
        + OPERAND.size_bytes * operands
        + INTERVAL_BYTES * spans
        + sum(descriptor_bytes(graph, operators) for operators in layers)
        - sum(scalar_bytes(graph, index) for index in range(len(graph.operators)))  # counted with the weights
        + COPY.descriptor.size_bytes * len(copies)
        + (OUTPUT_BYTES * len(graph.outputs) if len(graph.outputs) > 1 else 0)
        + _padding_bytes(graph)
    )


def _padding_bytes(graph: Graph) -> int:
    """Bytes of the pixels of zero points that convolutions read beyond an edge. Each has its own, so that a plan counts
    them before zero points are known."""
    return sum(graph.tensors[operator.inputs[0]].shape[-1] for operator in padded_operators(graph))


def padded_operators(graph: Graph) -> list[Operator]:
    """Operators whose kernels read a pixel of zero points beyond an edge."""
    found = []
    for index, operator in enumerate(graph.operators):
        kernel = kernel_of(graph, (index,)) if operator.kind == "CONV_2D" else None
        if kernel is not None and kernel.reads_padding and _reaches_over_an_edge(graph, operator):
            found.append(operator)
    return found


def _reaches_over_an_edge(graph: Graph, operator: Operator) -> bool:
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    before, window = padding_before(graph, operator), window_size(graph, operator)
    stride, dilation = operator.attributes["stride"], operator.attributes.get("dilation", (1, 1))
    return any(
        before[axis] > 0
        or (extent(output)[axis] - 1) * stride[axis] + (window[axis] - 1) * dilation[axis] >= extent(source)[axis]
        for axis in (ROWS, COLUMNS)
    )
