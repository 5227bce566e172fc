"""Comparison of the outputs of the C program with those of the NumPy interpreter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from deeplab.runtime.program import Program
from evaluation.graph import Graph, Tensor
from evaluation.graph.regions import extent
from evaluation.interpreter import execute
from evaluation.interpreter.packing import unpack_rows
from evaluation.planner.ir.plan_types import Plan


@dataclass(frozen=True)
class Agreement:
    """Number of output values for one input, and how many are equal; the values of a label map are its pixels."""

    name: str
    equal: int
    values: int

    @property
    def share(self) -> float:
        return self.equal / self.values


def agreements(
    graph: Graph, plan: Plan, program: Program, inputs: Iterable[tuple[str, np.ndarray]]
) -> Iterator[Agreement]:
    """Run both on each (name, input) by the same plan; equality is bit-exact, for floats, too."""
    for name, values in inputs:
        program.run(values, fill=0xA5)
        equal = total = 0
        for index, (tensor, expected) in enumerate(execute(graph, plan, values).outputs.items()):
            found = _values(graph.tensors[tensor], program.output(index)).astype(expected.dtype)
            same = found.view(np.uint8) == expected.reshape(-1).view(np.uint8)
            equal += int(same.reshape(expected.size, -1).all(axis=1).sum())
            total += expected.size
        yield Agreement(name, equal, total)


def _values(output: Tensor, data: np.ndarray) -> np.ndarray:
    """The elements of an output, from its bytes in the arena."""
    if output.bits < 8:
        rows, columns, channels = extent(output)
        return unpack_rows(data.reshape(rows, -1), output.bits, columns * channels, output.dtype).reshape(-1)
    width = data.size // output.elements
    return data.view(output.dtype if width == np.dtype(output.dtype).itemsize else f"<u{width}")  # or a label map
