"""Follow a plan byte by byte: the slow, obvious version of what the validator proves.

Each element of each tensor gets a number of its own, and an arena of such numbers is run through the plan's steps.
Lifetimes and roles are not looked at: only whether each call finds the right elements at the addresses it reads.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from evaluation.graph import Graph, Operator
from evaluation.graph.geometry import input_region
from evaluation.graph.regions import Region
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Access, Role, Step
from evaluation.planner.validate.reductions import is_global

RENAMES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
ONE_BY_ONE = ("QUANTIZE", "ADD", "RELU", *RENAMES)
"""Kinds of the test networks that may work in place."""


class WrongBytes(Exception):  # noqa: N818 - a finding, not a failure of the program
    """A step finds other elements than it needs, or none."""


def extent(graph: Graph, tensor: int) -> tuple[int, int, int]:
    shape = graph.tensors[tensor].shape
    return {4: shape[1:], 3: (*shape[1:], 1)}.get(len(shape), (1, 1, math.prod(shape)))


def follow(graph: Graph, plan: Plan) -> None:
    """Raise WrongBytes unless the plan's steps, at its addresses, compute the network. Elements of whole bytes only."""
    elements = _numbered(graph)
    memory = np.full(max(b.offset + b.size_bytes for b in plan.buffers), -1, np.int64)
    for tensor in graph.inputs:
        for number in _holders(graph, plan, tensor, at_end=False):
            _store(graph, plan, memory, elements, Access(number, tensor, plan.buffers[number].region))
    sums: dict[int, np.ndarray] = {}
    for step in plan.steps:
        for group in step.reads:
            for access in group:
                _find(graph, plan, memory, elements, access)
        if step.accumulator is not None:
            _add(graph, plan, memory, step, sums)
        elif step.operators:
            _has_its_needs(graph, step)
        _no_hazard(graph, plan, step)
        for access in step.writes:
            _store(graph, plan, memory, elements, access)
    for tensor in graph.outputs:
        _whole_at_the_end(graph, plan, memory, elements, tensor)


def _numbered(graph: Graph) -> list[np.ndarray]:
    elements, count = [], 0
    for tensor in range(len(graph.tensors)):
        shape = extent(graph, tensor)
        elements.append(np.arange(count, count + math.prod(shape)).reshape(shape))
        count += math.prod(shape)
    for operator in graph.operators:
        if operator.kind in RENAMES:
            elements[operator.outputs[0]] = elements[operator.inputs[0]].reshape(extent(graph, operator.outputs[0]))
        elif operator.kind == "CONCATENATION" and operator.attributes["axis"] == 3:  # all of one scale in these tests
            elements[operator.outputs[0]] = np.concatenate([elements[i] for i in operator.inputs], axis=2)
    return elements


def _addresses(graph: Graph, plan: Plan, access: Access) -> np.ndarray:
    """Addresses of an access's bytes, (rows, columns, channels, bytes of an element)."""
    buffer, region = plan.buffers[access.buffer], access.region
    size = 1 if buffer.role is Role.LABELS else graph.tensors[access.tensor].bits // 8
    inside = np.arange(size)
    shape = extent(graph, access.tensor)
    if shape[:2] != extent(graph, buffer.tensors[0])[:2]:
        flat = np.arange(math.prod(shape)).reshape(*shape, 1)
        return buffer.offset + flat * size + inside
    rows = np.arange(region.top, region.bottom) - buffer.region.top
    if buffer.role is Role.ROW_CACHE:
        rows = np.arange(region.top, region.bottom) % buffer.region.rows
    columns = np.arange(region.left, region.right) - buffer.region.left
    channels = access.channel + np.arange(shape[2])
    pixels = rows[:, None] * buffer.region.columns + columns
    place = pixels[..., None] * extent(graph, buffer.tensors[0])[2] + channels
    return buffer.offset + place[..., None] * size + inside


def _meant(elements: list[np.ndarray], access: Access) -> np.ndarray:
    region = access.region
    return elements[access.tensor][region.top : region.bottom, region.left : region.right, :, None]


def _store(graph: Graph, plan: Plan, memory: np.ndarray, elements: list[np.ndarray], access: Access) -> None:
    addresses = _addresses(graph, plan, access)
    _inside(memory, addresses)
    memory[addresses] = _meant(elements, access)


def _find(graph: Graph, plan: Plan, memory: np.ndarray, elements: list[np.ndarray], access: Access) -> None:
    addresses = _addresses(graph, plan, access)
    _inside(memory, addresses)
    if (memory[addresses] != _meant(elements, access)).any():
        raise WrongBytes(f"{access} is not there")


def _inside(memory: np.ndarray, addresses: np.ndarray) -> None:
    if addresses.min() < 0 or addresses.max() >= memory.size:
        raise WrongBytes("outside the arena")


def _union(group: tuple[Access, ...]) -> Region:
    regions = [access.region for access in group]
    for one, following in pairwise(regions):
        if (one.bottom, one.left, one.right) != (following.top, following.left, following.right):
            raise WrongBytes(f"{group} has a gap")
    return Region(regions[0].top, regions[-1].bottom, regions[0].left, regions[0].right)


def _has_its_needs(graph: Graph, step: Step) -> None:
    operator = graph.operators[step.operators[0]]
    made = _union(step.writes)
    operands = [i for i, t in enumerate(operator.inputs) if t >= 0 and not graph.tensors[t].is_constant]
    if [operator.inputs[i] for i in operands] != [group[0].tensor for group in step.reads]:
        raise WrongBytes("other operands")
    for position, group in zip(operands, step.reads, strict=True):
        need, has = input_region(graph, operator, position, made), _union(group)
        if not (
            has.top <= need.top and need.bottom <= has.bottom and has.left <= need.left and need.right <= has.right
        ):
            raise WrongBytes(f"{has} of {need}")


def _no_hazard(graph: Graph, plan: Plan, step: Step) -> None:
    """What is written over bytes that are read must take each element's own place."""
    if not step.writes:
        return
    written = np.concatenate([_addresses(graph, plan, access).ravel() for access in step.writes])
    for group in step.reads:
        read = np.concatenate([_addresses(graph, plan, access).ravel() for access in group])
        if np.intersect1d(read, written).size:
            kinds = [graph.operators[index].kind for index in step.operators]
            if len(kinds) != 1 or kinds[0] not in ONE_BY_ONE or not np.array_equal(read, written):
                raise WrongBytes("written over what is read")


def _add(graph: Graph, plan: Plan, memory: np.ndarray, step: Step, sums: dict[int, np.ndarray]) -> None:
    """The accumulator holds a number that tells which sum it is and how far it has come."""
    operator: Operator = graph.operators[step.operators[0]]
    if not is_global(graph, operator):
        raise WrongBytes("no sum")
    source = operator.inputs[0]
    if [group[0].tensor for group in step.reads] != [source]:
        raise WrongBytes("other operands")
    buffer = plan.buffers[step.accumulator]
    place = slice(buffer.offset, buffer.offset + buffer.size_bytes)
    seen = sums.get(step.operators[0])
    if seen is not None and (memory[place] != -2 - step.operators[0] * 1000 - seen.sum()).any():
        raise WrongBytes("the sums are lost")
    seen = np.zeros(extent(graph, source)[:2], int) if seen is None else seen
    for access in step.reads[0]:
        region = access.region
        seen[region.top : region.bottom, region.left : region.right] += 1
    memory[place] = -2 - step.operators[0] * 1000 - seen.sum()
    sums[step.operators[0]] = seen
    if step.writes:
        if (seen != 1).any():
            raise WrongBytes("not every element once")
        del sums[step.operators[0]]


def _holders(graph: Graph, plan: Plan, tensor: int, *, at_end: bool) -> list[int]:
    moment = len(plan.steps) - 1 if at_end else 0
    outside_tiles = (Role.FRAME, Role.EXTERNAL_FRAME, Role.ACTIVATION, Role.LABELS)
    return [
        number
        for number, buffer in enumerate(plan.buffers)
        if tensor in buffer.tensors
        and buffer.role in outside_tiles
        and buffer.lower <= moment < buffer.upper
        and extent(graph, buffer.tensors[0]) == extent(graph, tensor)
    ]


def _whole_at_the_end(graph: Graph, plan: Plan, memory: np.ndarray, elements: list[np.ndarray], tensor: int) -> None:
    missing = np.ones(extent(graph, tensor)[0], bool)
    for number in _holders(graph, plan, tensor, at_end=True):
        region = plan.buffers[number].region
        try:
            _find(graph, plan, memory, elements, Access(number, tensor, region))
        except WrongBytes:
            continue
        missing[region.top : region.bottom] = False
    if missing.any():
        raise WrongBytes(f"tensor {tensor} is lost")
