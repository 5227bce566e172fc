"""Activations that must share scale and zero point: operators that only move values have those of their input."""

from __future__ import annotations

from evaluation.graph import Graph
from evaluation.graph.memo import once_a_graph

MOVES_VALUES = (
    "AVERAGE_POOL_2D",
    "MAX_POOL_2D",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "CONCATENATION",
    "PAD",
    "RESHAPE",
    "STRIDED_SLICE",
)
"""Operators that TFLite's quantization specification gives the same scale on both sides."""


@once_a_graph
def shared_tensors(graph: Graph) -> tuple[tuple[int, ...], ...]:
    """Activations in groups of equal parameters, in the order of their first members; neither the frame nor labels."""
    group_of: dict[int, list[int]] = {}
    for operator in graph.operators:
        (output,) = operator.outputs
        if output in graph.outputs:
            continue
        group = [output]
        if operator.kind in MOVES_VALUES:
            for source in dict.fromkeys(index for index in operator.inputs if index in group_of):
                if group_of[source] is not group:
                    group = group_of[source] + group
                    for member in group:
                        group_of[member] = group
        for member in group:
            group_of[member] = group
    return tuple(dict.fromkeys(tuple(group) for group in group_of.values()))
