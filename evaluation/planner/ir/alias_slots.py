"""Values that share memory: operators that work in place, and concatenations whose inputs are written into slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation.graph import Graph
from evaluation.kernels.contract import KernelCall, is_label_map, slices_of
from evaluation.kernels.targets import Target

_NEAR = 4
"""Calls between the writing of a value and its rewriting in place in a slice, at most."""


@dataclass(frozen=True)
class AliasSlot:
    """The position of a value: at a channel of the value that is its host."""

    host: int
    channel: int


def alias_slots_of(
    graph: Graph, target: Target, calls: Sequence[KernelCall], copied: frozenset[tuple[int, int]]
) -> dict[int, AliasSlot]:
    """The alias slot of each value that has no storage of its own."""
    readers: dict[int, int] = {}
    for call in calls:
        for value in call.reads:
            readers[value] = readers.get(value, 0) + 1
    kept = set(graph.outputs) | (set(graph.inputs) if target.keep_frame or not target.count_frame else set())
    written = {value: at for at, call in enumerate(calls) for value in call.writes}
    slots: dict[int, AliasSlot] = {}
    for index in range(len(calls) - 1, -1, -1):
        call = calls[index]
        output = call.writes[0]
        slot = slots.get(output, AliasSlot(output, 0))
        slices = slices_of(graph, call)
        if slices is not None:
            for position, channel in enumerate(slices):
                value = call.reads[position]
                free = readers[value] == 1 and value not in kept and value not in graph.inputs
                if free and (index, position) not in copied:
                    slots[value] = AliasSlot(slot.host, slot.channel + channel)
            continue
        for position in call.in_place:
            value = call.reads[position]
            if readers[value] > 1 or value in kept or is_label_map(graph, output % len(graph.tensors)):
                continue
            if _is_in_a_slice(graph, output, slot) and _shape(graph, value) != _shape(graph, output):
                continue  # renamed in a slice, its elements would not follow one another
            if value in graph.inputs and not _may_rewrite(graph, call, value, slot):
                continue
            if slot.host != output and written.get(value, -1) < index - _NEAR:
                continue  # in a slice it would make the whole concatenation exist from then on
            slots[value] = slot
            break
    return slots


def _is_in_a_slice(graph: Graph, value: int, slot: AliasSlot) -> bool:
    host, own = (graph.tensors[index % len(graph.tensors)] for index in (slot.host, value))
    return host.elements != own.elements


def _shape(graph: Graph, value: int) -> tuple[int, ...]:
    return graph.tensors[value % len(graph.tensors)].shape


def _may_rewrite(graph: Graph, call: KernelCall, value: int, slot: AliasSlot) -> bool:
    """Whether a call may rewrite the camera frame: it may be reshaped, or requantized, in place."""
    kind = graph.operators[call.operators[0]].kind
    alone = slot.channel == 0 and slot.host in call.writes
    return alone and kind in ("QUANTIZE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS")
