"""Run a plan step by step, tile by tile, in an arena of exactly the planned size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.graph import ABSENT, Graph, Operator
from evaluation.graph.regions import Region, extent
from evaluation.interpreter.arena import Arena, ArenaScratch
from evaluation.interpreter.dispatch import function_of
from evaluation.interpreter.patch import Patch, PatchCall, Values, whole
from evaluation.interpreter.reduction import TiledReductions
from evaluation.interpreter.whole import as_input
from evaluation.kernels.selection import unpacked_shape
from evaluation.kernels.weights import as_stored
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Access, Role, Step


@dataclass(frozen=True, eq=False)
class Trace:
    """Masks of the bytes of the arena that a run wrote and read, bool (arena_bytes,) each."""

    written: npt.NDArray[np.bool]
    read: npt.NDArray[np.bool]

    @property
    def end(self) -> int:
        """One past the highest byte touched."""
        touched = np.flatnonzero(self.written | self.read)
        return int(touched[-1]) + 1 if touched.size else 0


@dataclass(frozen=True, eq=False)
class PlanRun:
    """Result of a run."""

    outputs: dict[int, Values]
    """The graph's outputs by tensor index, with shape and dtype of the tensor, except uint8 for a label map."""
    arena: npt.NDArray[np.uint8]
    """Content of the arena after the run, uint8 (arena_bytes,)."""
    trace: Trace | None

    @property
    def output(self) -> Values:
        """The first output."""
        return next(iter(self.outputs.values()))


def execute(graph: Graph, plan: Plan, frame: np.ndarray, *, trace: bool = False, fill: int = 0xA5) -> PlanRun:
    """Run a network by a plan.

    Args:
        graph: the network the plan was made for.
        plan: buffers, steps and `arena_bytes`.
        frame: the input's values; uint8 (H, W, 3) for a camera network, see `as_input`.
        trace: record the bytes touched, and check that each byte read was last written through the same buffer.
        fill: value of all bytes of the arena before the run.

    Raises:
        UserError: an operator has no kernel, or the frame does not fit.
        ValueError: the plan is invalid: a step reads data that is not there, a buffer is too small or ends beyond the
            arena, scratch is missing, or (traced) data was overwritten through another buffer before it is read.
    """
    graph = as_stored(graph, plan.target)
    arena = Arena(graph, plan.buffers, plan.arena_bytes, fill=fill, trace=trace)
    source = graph.tensors[graph.inputs[0]]
    arena.store(_rows_at_start(graph, plan, graph.inputs[0]), as_input(graph, frame).reshape(extent(source)))
    run = _Run(graph, arena)
    for step in plan.steps:
        arena.begin_step()
        run.do(step)
    arena.begin_step()
    outputs = {}
    for tensor in graph.outputs:
        patch = arena.load(_rows_at_end(graph, plan, tensor))
        outputs[tensor] = patch.values.reshape(graph.tensors[tensor].shape)
    touched = arena.touched
    return PlanRun(outputs, arena.memory, None if touched is None else Trace(*touched))


class _Run:
    """A run in progress: its arena, reductions, and values prepared at the first tile of an operator."""

    def __init__(self, graph: Graph, arena: Arena) -> None:
        self._graph = graph
        self._arena = arena
        self._reductions = TiledReductions()
        self._prepared: dict[tuple[Operator, str], Any] = {}
        self._unpacked: dict[int, tuple[int, int]] = {}

    def do(self, step: Step) -> None:
        """Execute a step: read all inputs, compute, then write, so that an output may overwrite an input."""
        graph, arena = self._graph, self._arena
        patches = [arena.load(group) for group in step.reads]
        if not step.operators:
            _copy(arena, step, patches)
            return
        operators = [graph.operators[index] for index in step.operators]
        first = operators[0]
        function = function_of(tuple(operator.kind for operator in operators), first.name)
        call = PatchCall(
            graph,
            first,
            _in_input_order(graph, first, patches),
            _written(graph, operators[-1], step),
            ArenaScratch(arena, step.scratch, first.name),
            self._unpacked_shape(step.operators[0]),
            self._prepared,
        )
        result: Values | tuple[Values, ...] | None
        if step.accumulator is None:
            result = function(call)
        else:
            result = self._reductions.add(arena, call, step.accumulator, is_last=bool(step.writes))
        if result is None:
            return
        if isinstance(result, tuple):  # several outputs are each written whole
            for access, values in zip(step.writes, result, strict=True):
                arena.store([access], values)
        elif step.writes:
            arena.store(step.writes, result)

    def _unpacked_shape(self, operator: int) -> tuple[int, int]:
        if operator not in self._unpacked:
            self._unpacked[operator] = unpacked_shape(self._graph, operator)
        return self._unpacked[operator]


def _copy(arena: Arena, step: Step, patches: list[Patch]) -> None:
    """Copy rows of one tensor from the buffers read to the buffers written."""
    read, written = step.reads[0] if step.reads else (), step.writes
    if len(patches) != 1 or not written or {access.tensor for access in (*read, *written)} != {read[0].tensor}:
        raise ValueError(f"a copy in section {step.section}, tile {step.tile}, is not of one tensor")
    region = _union(written)
    arena.store(written, patches[0].rectangle(region, 0))


def _written(graph: Graph, operator: Operator, step: Step) -> Region:
    """The region of the output that a step computes."""
    if not step.writes:  # a reduction that later tiles continue
        return whole(graph.tensors[operator.outputs[0]])
    tensor = step.writes[0].tensor
    if tensor not in operator.outputs:
        raise ValueError(f"{operator.name} does not write {graph.tensors[tensor].name}")
    return _union([access for access in step.writes if access.tensor == tensor])


def _union(accesses: Sequence[Access]) -> Region:
    first, last = accesses[0].region, accesses[-1].region
    return Region(first.top, last.bottom, first.left, first.right)


def _in_input_order(graph: Graph, operator: Operator, patches: list[Patch]) -> tuple[Patch | None, ...]:
    """The patches at the positions of the operator's non-constant inputs, None elsewhere."""
    wanted = [
        None if index == ABSENT or graph.tensors[index].is_constant else graph.tensors[index]
        for index in operator.inputs
    ]
    if [tensor for tensor in wanted if tensor is not None] != [patch.tensor for patch in patches]:
        read = ", ".join(patch.tensor.name for patch in patches) or "nothing"
        raise ValueError(f"{operator.name} is given {read}, which are not its inputs")
    remaining = iter(patches)
    return tuple(None if tensor is None else next(remaining) for tensor in wanted)


def _rows_at_start(graph: Graph, plan: Plan, tensor: int) -> list[Access]:
    """Accesses to a whole tensor that exists before the first step."""
    return _all_rows(graph, plan, tensor, [buffer.lower == 0 for buffer in plan.buffers])


def _rows_at_end(graph: Graph, plan: Plan, tensor: int) -> list[Access]:
    """Accesses to a whole tensor that exists after the last step."""
    return _all_rows(graph, plan, tensor, [buffer.upper == len(plan.steps) for buffer in plan.buffers])


def _all_rows(graph: Graph, plan: Plan, tensor: int, is_there: list[bool]) -> list[Access]:
    """Accesses to a whole tensor: one, or one for each buffer of a chunk of its rows."""
    everything = whole(graph.tensors[tensor])
    chunks = []
    for index, buffer in enumerate(plan.buffers):
        if is_there[index] and tensor in buffer.tensors and buffer.role not in (Role.TILE, Role.ROW_CACHE):
            # Only a tensor with the host's rows can be stored in chunks; a reshaped one is in one buffer.
            has_rows = extent(graph.tensors[buffer.tensors[0]])[:2] == extent(graph.tensors[tensor])[:2]
            chunks.append(Access(index, tensor, buffer.required_region if has_rows else everything))
    # A buffer of its own is preferred: elsewhere the tensor may be a copy in its slice of a concatenation.
    own = [access for access in chunks if plan.buffers[access.buffer].tensors[0] == tensor]
    chunks = sorted(own or chunks, key=lambda access: access.region.top)
    found: list[Access] = []
    for access in chunks:
        if access.region.top == (found[-1].region.bottom if found else 0):
            found.append(access)
    if not found or _union(found) != everything:
        raise ValueError(f"no buffers of the plan hold all of {graph.tensors[tensor].name}")
    return found
