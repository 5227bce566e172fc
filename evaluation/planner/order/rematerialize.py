"""Keep a skip connection narrow: hold its cheap, small ancestor instead, and compute the wide feature a second time.

DeepLab v3+ takes its skip from the widest layer of a block (144 channels behind the expansion of 24). Between the
encoder and the decoder either that tensor waits, or its projection to 48 channels, or the block's narrow input; from
the last the decoder can compute the feature again, row by row, for the MACs of one expansion. (Rematerialisation, as in
Chen et al., 2016, "Training deep nets with sublinear memory cost", here at inference.)
"""

from __future__ import annotations

from dataclasses import replace

from evaluation.graph import Graph
from evaluation.kernels.contract import KernelCall, tensor_bytes

_FAR = 8
"""A value waits long if at least so many calls are between its first reader and a later one."""
_LONGEST = 4
"""Calls that are computed again for one reader, at most."""


def rematerialized(graph: Graph, calls: tuple[KernelCall, ...], max_extra_macs: int) -> tuple[KernelCall, ...] | None:
    """`calls` with the chains to far readers computed a second time, right before they are needed; None where nothing
    is gained or the MACs do not allow it."""
    total = len(graph.tensors)
    producer = {value: call for call in calls for value in call.writes}
    made = list(calls)
    copies = 0
    spent = 0
    for call in calls:
        position = made.index(call)
        if len(call.reads) != 1 or not call.tileable:
            continue
        chain = _chain(graph, made, position, producer)
        cost = sum(link.macs for link in chain)
        if not chain or spent + cost > max_extra_macs:
            continue
        spent += cost
        copies += 1
        renamed: dict[int, int] = {}
        again = []
        for link in chain:
            for value in link.writes:
                renamed[value] = value + copies * total
            reads = tuple(renamed.get(value, value) for value in link.reads)
            again.append(replace(link, reads=reads, writes=tuple(renamed[value] for value in link.writes)))
        made.pop(position)
        moved = replace(call, reads=tuple(renamed[value] for value in call.reads))
        readers = [p for p, other in enumerate(made) if set(call.writes) & set(other.reads)]
        at = readers[0] if readers else position
        made[at:at] = [*again, moved]
    return tuple(made) if copies else None


def _chain(graph: Graph, calls: list[KernelCall], position: int, producer: dict[int, KernelCall]) -> list[KernelCall]:
    """The calls to repeat for the call at `position`, first to last: from the smallest ancestor of its input."""
    call = calls[position]
    value = call.reads[0]
    others = [p for p, other in enumerate(calls) if value in other.reads and p != position]
    made_at = next((p for p, other in enumerate(calls) if value in other.writes), None)
    readers = [p for p, other in enumerate(calls) if set(call.writes) & set(other.reads)]
    needed_at = readers[0] if readers else position
    if not others or made_at is None or needed_at - made_at < _FAR:
        return []
    waiting = min(_bytes(graph, value), sum(_bytes(graph, v) for v in call.writes))
    chain: list[KernelCall] = []
    best: list[KernelCall] = []
    while len(chain) < _LONGEST and value in producer:
        link = producer[value]
        if len(link.reads) != 1 or not link.tileable or len(link.writes) != 1:
            break
        chain = [link, *chain]
        value = link.reads[0]
        if value in graph.inputs:
            break
        if _bytes(graph, value) < waiting:
            waiting, best = _bytes(graph, value), chain
    return best


def _bytes(graph: Graph, value: int) -> int:
    return tensor_bytes(graph.tensors[value % len(graph.tensors)])
