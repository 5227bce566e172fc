"""Checks of accumulators over an image: each element added once, in a buffer wide enough for the sum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.graph import Graph, Operator, Tensor
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Step
from evaluation.planner.validate.faults import named, refuse
from evaluation.planner.validate.tensor_shapes import rows_columns_channels


@dataclass(frozen=True)
class _Sum:
    operator: int
    rows_done: npt.NDArray[np.int64]
    """For each column of the input, how many of its rows are in the sum."""


class Reductions:
    """The incomplete sums, by the buffer that holds them. Accesses must have passed `Operands`."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self._plan, self._graph = plan, graph
        self._open: dict[int, _Sum] = {}
        self._reduces = [is_global(graph, operator) for operator in graph.operators]

    def follow(self, step: Step, now: int) -> None:
        """Follow the next step of the run, whatever it does."""
        if not step.operators or (step.accumulator is None and not self._reduces[step.operators[0]]):
            return
        operator = self._graph.operators[step.operators[0]]
        if not self._reduces[step.operators[0]]:
            refuse("reduction", f"step {now} accumulates, but {operator.kind} is no sum over an image")
        holder = step.scratch if step.accumulator is None else step.accumulator
        source, output = self._graph.tensors[operator.inputs[0]], self._graph.tensors[operator.outputs[0]]
        needed = output.elements * sum_bytes(source, source.elements // output.elements)
        if holder is None or self._plan.buffers[holder].size_bytes < needed:
            where = "nothing" if holder is None else named(self._plan, holder)
            refuse("too small", f"step {now} adds up {operator.name} in {where} and needs {needed} bytes for its sums")
        if step.accumulator is not None:
            self._add(step, step.accumulator, source, now)

    def finish(self) -> None:
        """Raise InvalidPlanError if a sum is incomplete after the last step."""
        for number, sum_ in self._open.items():
            name = self._graph.operators[sum_.operator].name
            refuse("reduction", f"the sum of {name} in {named(self._plan, number)} is never completed")

    def _add(self, step: Step, number: int, source: Tensor, now: int) -> None:
        operator = step.operators[0]
        rows, columns, _ = rows_columns_channels(source)
        sum_ = self._open.setdefault(number, _Sum(operator, np.zeros(columns, np.int64)))
        if sum_.operator != operator:
            refuse("reduction", f"step {now} adds to {named(self._plan, number)} while operator {sum_.operator} does")
        region, bottom = step.reads[0][0].region, step.reads[0][-1].region.bottom
        done = sum_.rows_done[region.left : region.right]
        if (done != region.top).any():
            refuse("reduction", f"step {now} adds {region}, but rows so far end at {sorted(set(done.tolist()))}")
        done[:] = bottom
        if step.writes:
            if (sum_.rows_done != rows).any():
                refuse("reduction", f"step {now} writes the result before every element was added")
            del self._open[number]


def is_global(graph: Graph, operator: Operator) -> bool:
    """Whether the operator adds up all rows and columns of an image, channel by channel."""
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if len(source.shape) != 4 or source.shape[0] != 1 or source.is_constant or output.elements != source.shape[3]:
        return False
    if operator.kind == "AVERAGE_POOL_2D":
        return tuple(operator.attributes["filter"]) == tuple(source.shape[1:3])
    return operator.kind in ("MEAN", "SUM") and sorted(operator.attributes["axes"]) == [1, 2]


def sum_bytes(source: Tensor, count: int) -> int:
    """Bytes of the narrowest integer (of 2, 4 or 8 bytes) that holds the sum of any `count` quantized values; 4 for
    float32."""
    if source.dtype.startswith("float"):
        return 4
    largest = 2**source.bits - 1 if source.dtype.startswith("uint") else 2 ** (source.bits - 1)
    return next((size for size in (2, 4) if count * largest < 2 ** (8 * size - 1)), 8)
