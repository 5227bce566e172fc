"""Run a plan: its steps in order, tile by tile, in one block of exactly the bytes the plan asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.executor.arena import Arena, ArenaScratch
from evaluation.executor.kernels import kernel_of
from evaluation.executor.patch import Call, Patch, whole
from evaluation.executor.whole import as_input
from evaluation.graph import ABSENT, Graph, Operator
from evaluation.planner.types import Access, Plan, Role, Step
from evaluation.planner.weights import needs_unpacking


@dataclass(frozen=True, eq=False)
class Trace:
    """The bytes of the arena that a run touched, bool (arena_bytes,) each."""

    written: np.ndarray
    read: np.ndarray

    @property
    def end(self) -> int:
        """One past the highest byte touched."""
        touched = np.flatnonzero(self.written | self.read)
        return int(touched[-1]) + 1 if touched.size else 0


@dataclass(frozen=True, eq=False)
class Execution:
    """What a run produced."""

    outputs: dict[int, np.ndarray]
    """The graph's outputs by tensor index, of the tensor's shape; its dtype, but uint8 for a label map."""
    arena: np.ndarray
    """uint8 (arena_bytes,), as the run left it."""
    trace: Trace | None

    @property
    def output(self) -> np.ndarray:
        """The first output."""
        return next(iter(self.outputs.values()))


def execute(graph: Graph, plan: Plan, frame: np.ndarray, *, trace: bool = False, fill: int = 0xA5) -> Execution:
    """Run a network by a plan.

    Args:
        graph: the network the plan was made for.
        plan: buffers, steps and `arena_bytes`.
        frame: the input's values; uint8 (H, W, 3) for a camera network, see `as_input`.
        trace: record the bytes touched, and check that each byte read was last written through the same buffer.
        fill: what the arena holds before the run.

    Raises:
        UserError: an operator has no kernel, or the frame does not fit.
        ValueError: the plan is wrong: a step reads what is not there, a buffer is too small or ends beyond the arena,
            scratch is missing, or (traced) another buffer wrote over what is read.
    """
    arena = Arena(graph, plan.buffers, plan.arena_bytes, fill=fill, trace=trace)
    arena.store(_holder(graph, plan, graph.inputs[0], first=True), as_input(graph, frame))
    for step in plan.steps:
        _run_step(graph, arena, step)
    outputs = {}
    for tensor in graph.outputs:
        patch = arena.load(_holder(graph, plan, tensor, first=False))
        outputs[tensor] = patch.values.reshape(graph.tensors[tensor].shape)
    return Execution(outputs, arena.memory, Trace(arena.written, arena.read) if trace else None)


def _run_step(graph: Graph, arena: Arena, step: Step) -> None:
    arena.begin_step()
    operators = [graph.operators[index] for index in step.operators]
    kernel = kernel_of(tuple(operator.kind for operator in operators), operators[0].name)
    patches = _patches(graph, operators[0], [arena.load(access) for access in step.reads])
    unpacks = needs_unpacking(graph, step.operators[0])
    # All writes of a step are of one region of one tensor; more than one means the same rows go to several buffers.
    for write in step.writes:
        scratch = ArenaScratch(arena, step.scratch, operators[0].name)
        call = Call(graph, operators[0], patches, write.region, scratch, unpacks)
        arena.store(write, kernel(call))


def _patches(graph: Graph, operator: Operator, loaded: list[Patch]) -> tuple[Patch | None, ...]:
    """The loaded patches at the positions of the operator's non-constant inputs."""
    remaining = iter(loaded)
    return tuple(
        None if index == ABSENT or graph.tensors[index].is_constant else next(remaining) for index in operator.inputs
    )


def _holder(graph: Graph, plan: Plan, tensor: int, *, first: bool) -> Access:
    """Access to a whole tensor at the beginning or at the end of the run."""
    region = whole(graph.tensors[tensor])
    holders = [
        index
        for index, buffer in enumerate(plan.buffers)
        if tensor in buffer.tensors and buffer.region == region and buffer.role is not Role.TILE
    ]
    if not holders:
        raise ValueError(f"no buffer of the plan holds all of {graph.tensors[tensor].name}")
    return Access(holders[0 if first else -1], tensor, region)
