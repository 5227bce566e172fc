"""The order in which kernel calls run.

A file's order is one of many. Here one cheap improvement is made: a call that shrinks a tensor nobody reads after it
(a skip connection's projection, which many files do only when the decoder needs it) moves to right behind the
tensor's other readers, so that the small result waits instead of the large one. The planner tries both orders.
"""

from __future__ import annotations

from evaluation.graph import Graph
from evaluation.planner.kernels import KernelCall, tensor_bytes


def hoisted(graph: Graph, calls: tuple[KernelCall, ...]) -> tuple[KernelCall, ...]:
    """`calls` with every shrinking last reader moved up; the very same calls where none can move."""
    order = list(calls)
    for call in calls:
        position = order.index(call)
        earliest = _after_other_readers(graph, order, position)
        if earliest is not None and earliest < position:
            order.insert(earliest, order.pop(position))
    return tuple(order)


def _after_other_readers(graph: Graph, order: list[KernelCall], position: int) -> int | None:
    """Where the call at `position` may move to, or None where moving it would not shrink anything."""
    call = order[position]
    if len(set(call.reads)) != 1 or call.in_place or call.reads[0] in graph.outputs:
        return None
    source = call.reads[0]
    if any(source in later.reads for later in order[position + 1 :]):
        return None
    if sum(tensor_bytes(graph.tensors[t]) for t in call.writes) >= tensor_bytes(graph.tensors[source]):
        return None
    touching = [p for p in range(position) if source in order[p].reads or source in order[p].writes]
    return touching[-1] + 1 if touching else 0
