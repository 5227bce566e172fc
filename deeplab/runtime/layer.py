"""What the C program knows of one operator: which kernel runs it, and the constants that the kernel reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Tensor
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.weights import needs_unpacking
from evaluation.listing import listed, shortened
from evaluation.planner.ir.loops import LoopCall

C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t",
           "int64": "int64_t", "float32": "float"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of the program. Two of one name hold the same values, or the longer begins with the shorter's."""

    name: str
    values: np.ndarray
    """One axis, of the type it has in C."""


Value = int | float | bool | np.floating | None | Constant | tuple[int | float, ...]
Fields = dict[str, Value]
"""Members of a struct by name; one of `plain` as `plain.NAME`. A `Constant` becomes a pointer to it, None a null
pointer; what is left out is 0."""


@dataclass(frozen=True, eq=False)
class KernelDescriptor:
    """The kernel of one call and its constants: `static const struct STRUCT layer_N = {FIELDS};`."""

    kernel: Kernel
    fields: Fields

    def __post_init__(self) -> None:
        unknown = self.fields.keys() - self.kernel.descriptor.fields.keys()
        if unknown:
            raise ValueError(f"struct {self.kernel.descriptor.name} has no member {listed(sorted(unknown))}")


@dataclass(frozen=True, eq=False)
class KernelSite:
    """One call, as those who fill descriptors see it."""

    graph: Graph
    call: LoopCall

    @property
    def number(self) -> int:
        """Index of the first operator: what the layer is numbered by."""
        return self.call.operators[0]

    @property
    def operator(self) -> Operator:
        return self.graph.operators[self.call.operators[0]]

    @property
    def last(self) -> Operator:
        """The operator whose output is written: the second of two that are fused."""
        return self.graph.operators[self.call.operators[-1]]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(self.graph.operators[index].kind for index in self.call.operators)

    @property
    def source(self) -> Tensor:
        """The first input that is not constant.

        Raises:
            UserError: there is none.
        """
        if not self.call.reads:
            raise self.refused("all its inputs are constant; have the converter fold it into a constant")
        return self.graph.tensors[self.call.reads[0].tensor]

    @property
    def output(self) -> Tensor:
        return self.graph.tensors[self.last.outputs[0]]

    @property
    def is_packed(self) -> bool:
        """Whether the weights are narrow or sparse, so that each output channel's come through scratch."""
        return needs_unpacking(self.graph, self.number)

    def tensor(self, position: int) -> Tensor | None:
        """The operator's input at a position, None if left out."""
        inputs = self.operator.inputs
        if position >= len(inputs) or inputs[position] == ABSENT:
            return None
        return self.graph.tensors[inputs[position]]

    def required_tensor(self, position: int) -> Tensor:
        """The operator's input at a position.

        Raises:
            UserError: it is left out, though the kernel cannot do without.
        """
        tensor = self.tensor(position)
        if tensor is None:
            raise self.refused(f"its input {position} is left out; export the network with it")
        return tensor

    def constant(self, position: int) -> np.ndarray | None:
        """The values of a constant input, None if left out."""
        return None if self.tensor(position) is None else self.required_constant(position)

    def required_constant(self, position: int) -> np.ndarray:
        """The values of a constant input.

        Raises:
            UserError: it is left out, though the kernel cannot do without, or has no values.
        """
        tensor = self.required_tensor(position)
        if tensor.data is None:
            raise UserError(
                f"{self.graph.name}: {shortened(tensor.name)} has no values; only a trained network can be exported"
            )
        return tensor.data

    def name_of(self, what: str, position: int) -> str:
        """The C name of what is made of a constant input; the same for all operators that share it."""
        return f"{what}_{self.operator.inputs[position]}"

    def refused(self, why: str) -> UserError:
        name = shortened(self.operator.name)
        return UserError(f"{shortened(self.graph.name)}: {name} ({' + '.join(self.kinds)}): {why}")


Filler = Callable[[KernelSite], Fields]
"""Gives the members of the struct of a call's kernel."""
Fillers = dict[Kernel, Filler]
