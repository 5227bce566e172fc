"""From a schedule to the figures a user is shown.

`runtime_bytes` is what the C program holds beside arena and weights: the tables that drive it (`loops`), which are its
constants, and a bound on its stack. The tables lie with the weights (RAM or flash, as the target says); the stack is
always RAM. Sizes are those of the program's structs where a pointer has 4 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.graph import Graph
from evaluation.planner.loops import Loop
from evaluation.planner.targets import Target

SECTION_BYTES = 24
"""Pointers to calls, rows and columns; five counts."""
CALL_BYTES = 20
"""Pointers to kernel, layer and places; working memory, span, counts of operands."""
PLACE_BYTES = 20
"""Offsets of tile and ring; rows of the ring, span, columns, pitch, channel, bits and kind."""
SPAN_BYTES = 4
"""First row (or column) and one past the last, for each stripe (or strip) and span."""
COPY_BYTES = 2
"""A copy's channels."""
LAYER_BYTES = 64
"""Bound on an operator's own constants: geometry, codes, pointers to its weights."""
STACK_BYTES = 1024
"""Bound on the deepest call chain: run, kernel, inner loop."""


@dataclass(frozen=True)
class Account:
    """The memory of a plan by kind; `peak_memory_bytes` is the sum of what is RAM."""

    weights_bytes: int
    flash_bytes: int
    runtime_bytes: int
    peak_memory_bytes: int


def account(target: Target, arena_bytes: int, weights_bytes: int, tables_bytes: int) -> Account:
    """Memory by the target's rules."""
    if target.weights_in_ram:
        runtime = tables_bytes + STACK_BYTES
        return Account(weights_bytes, 0, runtime, arena_bytes + weights_bytes + runtime)
    return Account(weights_bytes, weights_bytes + tables_bytes, STACK_BYTES, arena_bytes + STACK_BYTES)


def tables_bytes(graph: Graph, loops: Sequence[Loop]) -> int:
    """Bytes of the program's tables."""
    calls = [call for loop in loops for call in loop.calls]
    spans = sum((loop.rows.size + loop.columns.size) // 2 for loop in loops)
    places = sum(len(call.reads) + len(call.writes) for call in calls)
    layers = {call.operators[0] for call in calls if call.operators}
    copies = {graph.tensors[call.reads[0].tensor].shape[-1] for call in calls if not call.operators}
    return (
        SECTION_BYTES * len(loops)
        + CALL_BYTES * len(calls)
        + PLACE_BYTES * places
        + SPAN_BYTES * spans
        + LAYER_BYTES * len(layers)
        + COPY_BYTES * len(copies)
    )
