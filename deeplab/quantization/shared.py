"""Activations that must share scale and zero point: operators that only move values have those of their input."""

from __future__ import annotations

from deeplab.network import is_global_pool
from evaluation.graph import Graph, Operator
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


def moves_values(graph: Graph, operator: Operator) -> bool:
    """Whether an operator's output has the parameters of its inputs."""
    return operator.kind in MOVES_VALUES and not is_rescaled_mean(graph, operator)


def is_rescaled_mean(graph: Graph, operator: Operator) -> bool:
    """Whether a global pool of a float network has parameters of its own, stated by the network's file: it is a MEAN in
    integers, which TFLite rescales, and no AVERAGE_POOL_2D."""
    if operator.kind != "AVERAGE_POOL_2D":
        return False
    result = graph.tensors[operator.outputs[0]]
    return result.dtype == "float32" and result.quantization is not None and is_global_pool(graph, operator)


@once_a_graph
def shared_tensors(graph: Graph) -> tuple[tuple[int, ...], ...]:
    """Activations in groups of equal parameters, in the order of their first members; neither the frame nor labels."""
    group_of: dict[int, list[int]] = {}
    for operator in graph.operators:
        (output,) = operator.outputs
        if output in graph.outputs:
            continue
        group = [output]
        if moves_values(graph, operator):
            for source in dict.fromkeys(index for index in operator.inputs if index in group_of):
                if group_of[source] is not group:
                    group = group_of[source] + group
                    for member in group:
                        group_of[member] = group
        for member in group:
            group_of[member] = group
    return tuple(dict.fromkeys(tuple(group) for group in group_of.values()))
