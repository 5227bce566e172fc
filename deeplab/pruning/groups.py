"""Groups of channels that can only be removed together.

A *group* is a set of channels that one decision removes: the output channels of every convolution that writes them
(several, where residual sums tie a chain of blocks together), with the depthwise convolutions they pass through, and
the input channels of every convolution that reads them, also from inside a concatenation.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from deeplab.channels import channel_numbers, unfollowed
from deeplab.network import constant_operands, convolutions, groups, is_depthwise, logits, with_tensors
from evaluation.graph import Graph, Tensor
from evaluation.graph.memo import once_a_graph


@dataclass(frozen=True)
class ChannelGroup:
    """Channels kept or removed together, named after the first convolution that writes them."""

    name: str
    channels: int
    writers: tuple[str, ...]
    """Convolutions whose output channels these are."""
    depthwise: tuple[str, ...]
    """Depthwise convolutions they pass through."""
    readers: tuple[tuple[str, int], ...]
    """(convolution, first input channel) for each convolution that reads them."""


@once_a_graph
def channel_groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """All prunable groups in network order. The image's and the classes' channels belong to none, nor do those that an
    operator reads through which pruning does not go, nor those of convolutions that share some channels and not all."""
    numbers = _numbers(graph)
    fixed = _fixed(graph, numbers)
    members: dict[bytes, list[str]] = {}
    found: dict[bytes, np.ndarray] = {}
    for operator in convolutions(graph):
        own = numbers[operator.outputs[0]]
        if not is_depthwise(operator) and fixed.isdisjoint(own.tolist()):
            found[own.tobytes()] = own
            members.setdefault(own.tobytes(), []).append(operator.name)
    return tuple(
        ChannelGroup(
            name=members[key][0],
            channels=len(own),
            writers=tuple(members[key]),
            depthwise=tuple(
                operator.name
                for operator in convolutions(graph)
                if is_depthwise(operator)
                for _ in _runs(numbers[operator.outputs[0]], own)
            ),
            readers=tuple(
                (operator.name, start)
                for operator in convolutions(graph)
                if not is_depthwise(operator)
                for start in _runs(numbers[operator.inputs[0]], own)
            ),
        )
        for key, own in found.items()
    )


@once_a_graph
def channel_owners(graph: Graph) -> dict[str, tuple[tuple[str | None, int], ...]]:
    """By activation, the runs of (group or None, channels) that its channels consist of, in order."""
    numbers = _numbers(graph)
    owner_of = {number: name for name, own in _group_numbers(graph).items() for number in own.tolist()}
    found = {}
    for index, own in numbers.items():
        runs: list[tuple[str | None, int]] = []
        owners = [owner_of.get(number) for number in own.tolist()]
        changes = [at for at in range(1, len(own)) if owners[at] != owners[at - 1] or own[at] != own[at - 1] + 1]
        for begin, end in itertools.pairwise([0, *changes, len(own)]):
            runs.append((owners[begin], end - begin))
        found[graph.tensors[index].name] = tuple(runs)
    return found


def kept_channels_of(graph: Graph, keep: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    """By activation, the indices of its channels that stay when of the named groups only these do."""
    numbers = _numbers(graph)
    stays = np.ones(1 + max(int(own.max()) for own in numbers.values()), bool)
    for name, own in _group_numbers(graph).items():
        if name in keep:
            stays[own] = False
            stays[own[keep[name]]] = True
    return {index: np.flatnonzero(stays[own]) for index, own in numbers.items()}


def take_channels(graph: Graph, keep: Mapping[str, np.ndarray]) -> Graph:
    """The network less all channels but those named; groups not named stay whole, and the order of channels is kept.

    Constants without values, of a network for plans only, have none afterwards.
    """
    kept = kept_channels_of(graph, keep)
    tensors: dict[int, Tensor] = {
        index: replace(graph.tensors[index], shape=(*graph.tensors[index].shape[:-1], len(stays)))
        for index, stays in kept.items()
    }
    for operator in convolutions(graph):
        kernel, bias = operator.inputs[1:3]
        written, read = kept[operator.outputs[0]], kept[operator.inputs[0]]
        own = graph.tensors[kernel]
        if groups(graph, operator) > 1 and not is_depthwise(operator):
            continue  # all of its channels stay
        if is_depthwise(operator):
            shape = (*own.shape[:3], len(written))
            data = None if own.data is None else own.data[..., written]
        else:
            shape = (len(written), *own.shape[1:3], len(read))
            data = None if own.data is None else own.data[written][..., read]
        tensors[kernel] = replace(own, shape=shape, data=None if data is None else np.ascontiguousarray(data))
        values = graph.tensors[bias].data
        tensors[bias] = replace(
            graph.tensors[bias], shape=(len(written),), data=None if values is None else values[written]
        )
    for operator in graph.operators:
        for position in constant_operands(graph, operator):
            index, stays = operator.inputs[position], kept[operator.outputs[0]]
            own = graph.tensors[index]
            if own.shape[-1] > 1:
                shape = (*own.shape[:-1], len(stays))
                tensors[index] = replace(own, shape=shape, data=None if own.data is None else own.data[..., stays])
    return _with_slices(with_tensors(graph, tensors))


def _with_slices(graph: Graph) -> Graph:
    """The graph whose STRIDED_SLICE operators end at the channels that there are."""
    operators, tensors = [], {}
    for operator in graph.operators:
        if operator.kind == "STRIDED_SLICE":
            end = (*operator.attributes["end"][:3], graph.tensors[operator.outputs[0]].shape[3])
            index = operator.inputs[2]
            if operator.attributes["begin"][3] == 0:
                operator = replace(operator, attributes={**operator.attributes, "end": end})
                tensors[index] = replace(graph.tensors[index], data=np.array(end, np.int32))
        operators.append(operator)
    return replace(with_tensors(graph, tensors), operators=tuple(operators))


def _numbers(graph: Graph) -> dict[int, np.ndarray]:
    return channel_numbers(graph, removed=True)


def _group_numbers(graph: Graph) -> dict[str, np.ndarray]:
    """By group, the numbers of its channels."""
    numbers = _numbers(graph)
    written = {operator.name: numbers[operator.outputs[0]] for operator in convolutions(graph)}
    return {group.name: written[group.name] for group in channel_groups(graph)}


def _fixed(graph: Graph, numbers: Mapping[int, np.ndarray]) -> set[int]:
    """Numbers of channels that may not be removed."""
    fixed = unfollowed(graph, numbers, removed=True) | set(numbers[logits(graph)].tolist())
    written_as: dict[int, bytes] = {}
    for operator in convolutions(graph):
        own = numbers[operator.outputs[0]]
        if is_depthwise(operator):
            continue
        members = own.tolist()
        others = [number for number in members if written_as.setdefault(number, own.tobytes()) != own.tobytes()]
        if others or len(set(members)) < len(members):
            keys = {written_as[number] for number in members}
            fixed |= {number for number, key in written_as.items() if key in keys}
    return fixed


def _runs(numbers: np.ndarray, own: np.ndarray) -> list[int]:
    """Where a group's channels begin among those of an activation."""
    starts = np.flatnonzero(numbers == own[0]).tolist()
    return [start for start in starts if np.array_equal(numbers[start : start + len(own)], own)]
