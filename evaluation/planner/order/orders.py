"""The orders in which kernel calls are tried.

A file's order is one of many. Untiled, the order of least peak is found exactly (`least_peak_order`). Tiled, sections
are runs of neighbours in the order, so a few orders with different neighbours are tried: the file's own; one in which
calls that are the last readers of a larger tensor run right after its other readers; and one in which calls whose
result waits for long run right before its first reader.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.kernels.contract import KernelCall, tensor_bytes
from evaluation.planner.ir.storage_graph import StorageGraph, reordered
from evaluation.planner.order.least_peak import Node, least_peak_order


def least_peak(storage_graph: StorageGraph) -> tuple[StorageGraph, bool]:
    """The storage graph with its calls in the order of least untiled peak, and whether that is proven.

    The proof holds for the storages as they are: which operators work in place, and which concatenations are
    elided, was decided before.
    """
    storages = storage_graph.storages
    nodes = []
    for call, before in zip(storage_graph.calls, _before(storage_graph), strict=True):
        touches = frozenset(
            o.storage for o in (*call.reads, *call.writes) if storage_graph.counted(storages[o.storage])
        )
        nodes.append(Node(touches, before, storage_graph.aligned(call.scratch_bytes)))
    sizes = [storage_graph.aligned(storage.size_bytes) for storage in storages]
    at_start = frozenset(i for i, s in enumerate(storages) if s.first < 0 and storage_graph.counted(s))
    at_end = frozenset(
        i for i, s in enumerate(storages) if s.last >= len(storage_graph.calls) and storage_graph.counted(s)
    )
    found = least_peak_order(nodes, sizes, at_start, at_end)
    return reordered(storage_graph, found.sequence), found.proven


def _before(storage_graph: StorageGraph) -> list[frozenset[int]]:
    """For each call those that must run before it: writers of its inputs, and calls that touch a storage it rewrites in
    place."""
    writers: dict[int, set[int]] = defaultdict(set)
    touching: dict[int, set[int]] = defaultdict(set)
    before = []
    for index, call in enumerate(storage_graph.calls):
        read, written = ({operand.storage for operand in some} for some in (call.reads, call.writes))
        before.append(frozenset().union(*(writers[s] for s in read), *(touching[s] for s in read & written)))
        for storage in written:
            writers[storage].add(index)
        for storage in read | written:
            touching[storage].add(index)
    return before


def orders(graph: Graph, calls: tuple[KernelCall, ...]) -> list[tuple[KernelCall, ...]]:
    """Different orders to split into sections, the file's own first."""
    return list(dict.fromkeys((calls, hoisted(graph, calls), sunk(graph, calls))))


def hoisted(graph: Graph, calls: tuple[KernelCall, ...]) -> tuple[KernelCall, ...]:
    """`calls` with every shrinking last reader moved up; the very same calls where none can move."""
    order = list(calls)
    for call in calls:
        position = order.index(call)
        earliest = _after_other_readers(graph, order, position)
        if earliest is not None and earliest < position:
            order.insert(earliest, order.pop(position))
    return tuple(order)


def sunk(graph: Graph, calls: tuple[KernelCall, ...]) -> tuple[KernelCall, ...]:
    """`calls` with every call whose output is not smaller than its inputs moved to right before its first reader."""
    order = list(calls)
    for call in reversed(calls):
        position = order.index(call)
        readers = [p for p, other in enumerate(order) if set(call.writes) & set(other.reads)]
        if not readers or readers[0] <= position + 1:
            continue
        read = sum(_bytes(graph, value) for value in set(call.reads))
        if sum(_bytes(graph, value) for value in call.writes) < read and not _read_later(order, position):
            continue
        order.insert(readers[0] - 1, order.pop(position))
    return tuple(order)


def _read_later(order: Sequence[KernelCall], position: int) -> bool:
    """Whether all that the call reads is read again further down, so that it frees nothing."""
    later = {value for other in order[position + 1 :] for value in other.reads}
    return set(order[position].reads) <= later


def _after_other_readers(graph: Graph, order: list[KernelCall], position: int) -> int | None:
    """The position that the call at `position` may move to, or None where moving it would not shrink anything."""
    call = order[position]
    if len(set(call.reads)) != 1 or call.in_place or call.reads[0] in graph.outputs:
        return None
    source = call.reads[0]
    if extent(graph.tensors[source % len(graph.tensors)])[0] == 1:
        return None  # a few bytes, after a global pool: its readers end sections
    if any(source in later.reads for later in order[position + 1 :]):
        return None
    if sum(_bytes(graph, value) for value in call.writes) >= _bytes(graph, source):
        return None
    touching = [p for p in range(position) if source in order[p].reads or source in order[p].writes]
    return touching[-1] + 1 if touching else 0


def _bytes(graph: Graph, value: int) -> int:
    return tensor_bytes(graph.tensors[value % len(graph.tensors)])
