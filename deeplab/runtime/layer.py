"""Descriptors of kernel calls: the kernel, and the constants that it reads."""

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
    """A constant array of the program. Of two with one name, the shorter is a prefix of the longer."""

    name: str
    values: np.ndarray
    """(n,), of the dtype of the C type."""


Value = int | float | bool | np.floating | None | Constant | tuple[int | float, ...]
Fields = dict[str, Value]
"""Members of a struct by name, those of `plain` as `plain.NAME`. A `Constant` is emitted as a pointer, None as NULL;
omitted members are 0."""


@dataclass(frozen=True, eq=False)
class KernelDescriptor:
    """The kernel of a call and the members of its struct: `static const struct STRUCT layer_N = {FIELDS};`."""

    kernel: Kernel
    fields: Fields

    def __post_init__(self) -> None:
        unknown = self.fields.keys() - self.kernel.descriptor.fields.keys()
        if unknown:
            raise ValueError(f"struct {self.kernel.descriptor.name} has no member {listed(sorted(unknown))}")


@dataclass(frozen=True, eq=False)
class KernelSite:
    """A call and its graph, from which a descriptor is filled."""

    graph: Graph
    call: LoopCall

    @property
    def number(self) -> int:
        """Index of the first operator, which numbers the descriptor."""
        return self.call.operators[0]

    @property
    def operator(self) -> Operator:
        """The first operator of the call."""
        return self.graph.operators[self.call.operators[0]]

    @property
    def last(self) -> Operator:
        """The last operator of the call, whose output is written."""
        return self.graph.operators[self.call.operators[-1]]

    @property
    def kinds(self) -> tuple[str, ...]:
        """TFLite names of the operators of the call."""
        return tuple(self.graph.operators[index].kind for index in self.call.operators)

    @property
    def source(self) -> Tensor:
        """The first non-constant input.

        Raises:
            UserError: there is none.
        """
        if not self.call.reads:
            raise self.refused("all its inputs are constant; have the converter fold it into a constant")
        return self.graph.tensors[self.call.reads[0].tensor]

    @property
    def output(self) -> Tensor:
        """The first output of the last operator."""
        return self.graph.tensors[self.last.outputs[0]]

    @property
    def is_packed(self) -> bool:
        """Whether the weights are narrower than their type or sparse, so that they are unpacked into scratch."""
        return needs_unpacking(self.graph, self.number)

    def tensor(self, position: int) -> Tensor | None:
        """The operator's input tensor at a position, None if omitted."""
        inputs = self.operator.inputs
        if position >= len(inputs) or inputs[position] == ABSENT:
            return None
        return self.graph.tensors[inputs[position]]

    def required_tensor(self, position: int) -> Tensor:
        """The operator's input tensor at a position.

        Raises:
            UserError: it is omitted, but required.
        """
        tensor = self.tensor(position)
        if tensor is None:
            raise self.refused(f"its input {position} is left out; export the network with it")
        return tensor

    def constant(self, position: int) -> np.ndarray | None:
        """The values of a constant input, None if omitted."""
        return None if self.tensor(position) is None else self.required_constant(position)

    def required_constant(self, position: int) -> np.ndarray:
        """The values of a constant input.

        Raises:
            UserError: it is omitted, but required, or has no values.
        """
        tensor = self.required_tensor(position)
        if tensor.data is None:
            raise UserError(
                f"{self.graph.name}: {shortened(tensor.name)} has no values; only a trained network can be exported"
            )
        return tensor.data

    def name_of(self, what: str, position: int) -> str:
        """C name of an array computed from a constant input; equal for all operators that share the input."""
        return f"{what}_{self.operator.inputs[position]}"

    def refused(self, why: str) -> UserError:
        """An error that names the network and the operator."""
        name = shortened(self.operator.name)
        return UserError(f"{shortened(self.graph.name)}: {name} ({' + '.join(self.kinds)}): {why}")


Filler = Callable[[KernelSite], Fields]
"""Returns the members of the struct of a call's kernel."""
Fillers = dict[Kernel, Filler]
