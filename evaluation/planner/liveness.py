"""Where tensors are stored, and from which kernel call to which they must exist.

A `Storage` is one place in memory that one tensor lies in, or several one after another where a kernel works in
place. Its life runs from the call that writes it to the last call that reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.graph import Graph
from evaluation.planner.kernels import KernelCall, is_label_map, row_bytes
from evaluation.planner.targets import Target
from evaluation.planner.types import Role, extent


@dataclass(frozen=True)
class Storage:
    """One place for one or more tensors. Calls are counted from 0; the run's input is written before call 0."""

    tensors: tuple[int, ...]
    role: Role
    rows: int
    row_bytes: int
    first: int
    """Call that first writes here; -1 for the network's inputs."""
    last: int
    """Last call that reads here; the number of calls for what must survive the run."""

    @property
    def size_bytes(self) -> int:
        return self.rows * self.row_bytes


@dataclass(frozen=True, eq=False)
class Program:
    """A graph as kernel calls over storages: what remains to be scheduled, tiled and placed."""

    graph: Graph
    target: Target
    calls: tuple[KernelCall, ...]
    storages: tuple[Storage, ...]
    storage_of: dict[int, int]
    """From tensor index to index in `storages`."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the untiled network."""
        return sum(call.macs for call in self.calls)

    def aligned(self, size_bytes: int) -> int:
        """Size rounded up to the target's alignment."""
        return -(-size_bytes // self.target.alignment_bytes) * self.target.alignment_bytes


def program(graph: Graph, target: Target, calls: tuple[KernelCall, ...]) -> Program:
    """Storages of a graph and their lives when `calls` run in the order given."""
    members: list[list[int]] = []
    storage_of: dict[int, int] = {}
    first: list[int] = []
    for tensor in graph.inputs:
        storage_of[tensor] = len(members)
        members.append([tensor])
        first.append(-1)
    for index, call in enumerate(calls):
        for position, tensor in enumerate(call.writes):
            if position == 0 and call.in_place:
                storage_of[tensor] = storage_of[call.reads[0]]
                members[storage_of[tensor]].append(tensor)
            else:
                storage_of[tensor] = len(members)
                members.append([tensor])
                first.append(index)
    last = list(first)
    for index, call in enumerate(calls):
        for tensor in (*call.reads, *call.writes):
            last[storage_of[tensor]] = max(last[storage_of[tensor]], index)
    survivors = set(graph.outputs) | (set(graph.inputs) if target.keep_frame else set())
    for tensor in survivors & storage_of.keys():
        last[storage_of[tensor]] = len(calls)
    storages = tuple(
        _storage(graph, target, tuple(tensors), begin, end)
        for tensors, begin, end in zip(members, first, last, strict=True)
    )
    return Program(graph, target, calls, storages, storage_of)


def _storage(graph: Graph, target: Target, tensors: tuple[int, ...], first: int, last: int) -> Storage:
    tensor = graph.tensors[tensors[0]]
    rows, columns, _ = extent(tensor)
    if is_label_map(graph, tensors[0]):
        return Storage(tensors, Role.LABELS, rows, columns * target.label_bytes, first, last)
    is_picture = tensors[0] in graph.inputs and len(tensor.shape) == 4
    role = Role.FRAME if is_picture else Role.ACTIVATION
    return Storage(tensors, role, rows, row_bytes(tensor), first, last)
