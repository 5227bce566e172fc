"""A network as kernel calls over *storages*, before anything is tiled, scheduled or placed.

A storage is one piece of memory. It holds one tensor; or several, one after another, where kernels work in place; or
several side by side, where a concatenation is elided: its inputs are then written straight into channel slices of its
output, and the concatenation itself vanishes. An input that waits long for its concatenation stays where it is and is
copied into its slice at the end, where that keeps the peak lower than a slice that must exist from the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np

from evaluation.graph import Graph
from evaluation.graph.geometry import Need
from evaluation.graph.regions import extent
from evaluation.kernels.contract import KernelCall, is_label_map, row_bytes, slices_of
from evaluation.kernels.targets import Target
from evaluation.planner.ir.alias_slots import AliasSlot, alias_slots_of
from evaluation.planner.ir.steps import Role


@dataclass(frozen=True)
class Operand:
    """A tensor that a call reads or writes, and its position in a storage."""

    storage: int
    tensor: int
    """Index in the graph."""
    channel: int = 0
    """First channel in the storage's host."""


@dataclass(frozen=True, eq=False)
class StorageCall:
    """One kernel call; a copy where it has no operators."""

    operators: tuple[int, ...]
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    needs: tuple[tuple[Need, Need] | None, ...]
    """For each of `reads`: rows and columns that the output's rows and columns need; None = all at once."""
    reduces: bool
    scratch_bytes: int
    macs: int

    @property
    def tileable(self) -> bool:
        """Whether any rectangle of the output can be computed alone."""
        return len(self.writes) == 1 and not self.reduces and all(need is not None for need in self.needs)

    @cached_property
    def tile_needs(self) -> tuple[tuple[Need, Need], ...]:
        """`needs` of a call that can run in tiles.

        Raises:
            ValueError: it needs an input whole.
        """
        needs = tuple(need for need in self.needs if need is not None)
        if len(needs) != len(self.needs):
            raise ValueError(f"the call of operators {self.operators} needs an input whole, and cannot run in tiles")
        return needs

    @property
    def output(self) -> int:
        """Storage of the first output."""
        return self.writes[0].storage


@dataclass(frozen=True)
class Storage:
    """Memory of one or more tensors. Calls are counted from 0; the run's input is written before call 0."""

    tensors: tuple[int, ...]
    """The host, which gives the layout, and the tensors that share its memory."""
    role: Role
    rows: int
    columns: int
    row_bytes: int
    first: int
    """Call that first writes here; -1 for the network's inputs."""
    last: int
    """Last call that touches it; the number of calls for a storage that must survive the run."""
    written_last: int
    """Last call that writes here; -1 for inputs that nothing rewrites."""

    @property
    def size_bytes(self) -> int:
        return self.rows * self.row_bytes


@dataclass(frozen=True, eq=False)
class StorageGraph:
    """A graph as kernel calls over storages, still to be scheduled, tiled and placed."""

    graph: Graph
    target: Target
    calls: tuple[StorageCall, ...]
    storages: tuple[Storage, ...]
    macs: int
    """Multiply-accumulates of the calls, each once."""

    def aligned(self, size_bytes: int) -> int:
        """Size rounded up to the target's alignment."""
        return -(-size_bytes // self.target.alignment_bytes) * self.target.alignment_bytes

    def counted(self, storage: Storage) -> bool:
        """Whether the storage is in the arena."""
        return storage.role is not Role.EXTERNAL_FRAME


def storage_graph_of(graph: Graph, target: Target, calls: Sequence[KernelCall], *, tiled: bool = False) -> StorageGraph:
    """Calls and storages of a graph when `calls` run in the order given, concatenations elided where that is no worse.

    Inputs of a concatenation are taken from the latest to the earliest. Untiled, each is written straight into its
    slice unless the peak then rises above that with a copy.

    Args:
        tiled: copy every input that can never share a section with its concatenation, as a call between them needs
            something whole: the slice would make the whole concatenation exist.
    """
    copied: frozenset[tuple[int, int]] = frozenset()
    written = {value: at for at, other in enumerate(calls) for value in other.writes}
    whole = {call.writes[0] for call in calls if call.reduces}
    barriers = [
        at for at, call in enumerate(calls) if (not call.tileable and not call.reduces) or whole & set(call.reads)
    ]
    built = _build(graph, target, calls, copied)
    for index, call in enumerate(calls):
        slices = slices_of(graph, call)
        if slices is None:
            continue
        # The latest input makes its slice whatever comes; the others choose between the slice and a copy.
        order = sorted(range(len(slices)), key=lambda position: -written.get(call.reads[position], -1))
        for position in order[1:]:
            made_at = written.get(call.reads[position], -1)
            if tiled:
                if any(made_at < at <= index for at in barriers):
                    copied |= {(index, position)}
                    built = _build(graph, target, calls, copied)
            elif made_at < index - len(slices) - 2:
                with_copy = _build(graph, target, calls, copied | {(index, position)})
                if max(untiled_live_bytes(with_copy)) < max(untiled_live_bytes(built)):
                    copied, built = copied | {(index, position)}, with_copy
    return built


def untiled_live_bytes(storage_graph: StorageGraph) -> list[int]:
    """Bytes alive at each call when every tensor is whole."""
    change = [0] * (len(storage_graph.calls) + 1)
    for storage in storage_graph.storages:
        if storage_graph.counted(storage):
            size = storage_graph.aligned(storage.size_bytes)
            change[max(storage.first, 0)] += size
            change[min(storage.last, len(storage_graph.calls) - 1) + 1] -= size
    alive = list(accumulate(change[:-1]))
    return [
        bytes_ + storage_graph.aligned(call.scratch_bytes)
        for bytes_, call in zip(alive, storage_graph.calls, strict=True)
    ]


def reordered(storage_graph: StorageGraph, sequence: Sequence[int]) -> StorageGraph:
    """The storage graph with its calls in another order."""
    calls = tuple(storage_graph.calls[index] for index in sequence)
    return _timed(
        storage_graph.graph, storage_graph.target, calls, [storage.tensors for storage in storage_graph.storages]
    )


def _build(
    graph: Graph, target: Target, calls: Sequence[KernelCall], copied: frozenset[tuple[int, int]]
) -> StorageGraph:
    slots = alias_slots_of(graph, target, calls, copied)
    number: dict[int, int] = {}
    members: list[list[int]] = []

    def operand(value: int) -> Operand:
        slot = slots.get(value, AliasSlot(value, 0))
        if slot.host not in number:
            number[slot.host] = len(members)
            members.append([slot.host % len(graph.tensors)])
        storage, tensor = number[slot.host], value % len(graph.tensors)
        if tensor not in members[storage]:
            members[storage].append(tensor)
        return Operand(storage, tensor, slot.channel)

    for tensor in graph.inputs:
        operand(tensor)
    made: list[StorageCall] = []
    for call in calls:
        slices = slices_of(graph, call)
        if slices is None:
            reads, writes = tuple(map(operand, call.reads)), tuple(map(operand, call.writes))
            made.append(
                StorageCall(call.operators, reads, writes, call.needs, call.reduces, call.scratch_bytes, call.macs)
            )
            continue
        host = operand(call.writes[0])
        for position, channel in enumerate(slices):
            source = operand(call.reads[position])
            if (source.storage, source.channel) == (host.storage, host.channel + channel):
                continue
            rows, columns, _ = extent(graph.tensors[source.tensor])
            needs = ((_each_position(rows), _each_position(columns)),)
            if source.tensor not in members[host.storage]:
                members[host.storage].append(source.tensor)
            into = Operand(host.storage, source.tensor, host.channel + channel)
            made.append(StorageCall((), (source,), (into,), needs, False, 0, 0))
    return _timed(graph, target, tuple(made), [tuple(tensors) for tensors in members])


def _timed(
    graph: Graph, target: Target, calls: tuple[StorageCall, ...], members: list[tuple[int, ...]]
) -> StorageGraph:
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    written_last: dict[int, int] = {}
    # A frame that is only copied into a slice begins the copy's source, not the slice's host.
    copied = {operand for call in calls if not call.operators for operand in call.writes}
    begun = {
        storage
        for storage, tensors in enumerate(members)
        if any(t in graph.inputs and not _is_copy(copied, storage, t) for t in tensors)
    }
    for storage in begun:
        first[storage] = last[storage] = -1
    for index, call in enumerate(calls):
        for operand in call.writes:
            first.setdefault(operand.storage, index)
            written_last[operand.storage] = index
        for operand in (*call.reads, *call.writes):
            last[operand.storage] = index
    for storage, tensors in enumerate(members):
        if (storage in begun and target.keep_frame) or set(tensors) & set(graph.outputs):
            last[storage] = len(calls)
    storages = tuple(
        replace(
            _storage(graph, target, tensors, index in begun),
            first=first[index],
            last=last[index],
            written_last=written_last.get(index, -1),
        )
        for index, tensors in enumerate(members)
    )
    calls = tuple(_laid_out(graph, call, storages) for call in calls)
    return StorageGraph(graph, target, calls, storages, sum(call.macs for call in calls))


def _laid_out(graph: Graph, call: StorageCall, storages: tuple[Storage, ...]) -> StorageCall:
    """The call, unable to run in tiles where a tensor's rows are not those of its storage (a RESHAPE in place)."""

    def differs(operand: Operand) -> bool:
        storage = storages[operand.storage]
        return extent(graph.tensors[operand.tensor])[:2] != (storage.rows, storage.columns)

    if any(map(differs, call.writes)):
        return replace(call, needs=(None,) * len(call.needs))
    needs = tuple(None if differs(operand) else need for operand, need in zip(call.reads, call.needs, strict=True))
    return replace(call, needs=needs, reduces=call.reduces and not any(map(differs, call.reads)))


def _each_position(size: int) -> Need:
    positions = np.arange(size, dtype=np.int64)
    return positions, positions + 1


def _is_copy(copied: set[Operand], storage: int, tensor: int) -> bool:
    return any(operand.storage == storage and operand.tensor == tensor for operand in copied)


def _storage(graph: Graph, target: Target, tensors: tuple[int, ...], is_input: bool) -> Storage:
    host = graph.tensors[tensors[0]]
    if all(graph.tensors[t].elements == host.elements for t in tensors):  # renamed: the image gives the rows
        most = max(tensors, key=lambda t: extent(graph.tensors[t])[0])
        if extent(graph.tensors[most])[0] > extent(host)[0]:
            tensors = (most, *(t for t in tensors if t != most))
            host = graph.tensors[most]
    rows, columns, _ = extent(host)
    if is_label_map(graph, tensors[0]):
        return Storage(tensors, Role.LABELS, rows, columns, columns * target.label_bytes, 0, 0, 0)
    role = Role.ACTIVATION
    if is_input and len(host.shape) == 4:
        role = Role.FRAME if target.count_frame else Role.EXTERNAL_FRAME
    return Storage(tensors, role, rows, columns, row_bytes(host), 0, 0, 0)
