"""Arguments of an interpreter function: patches of the input tensors, and the region of the output to compute.

A function `PatchCall -> values` is pure. It takes the geometry from the shapes of the tensors and does not know whether
its region is a tile or the whole output, so that tiling cannot change results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Tensor
from evaluation.graph.regions import Region, extent

Made = TypeVar("Made")
NumberT = TypeVar("NumberT", bound=np.number[Any])
Values = npt.NDArray[np.number[Any]]
"""Elements of a tensor, with the tensor's dtype."""
MOST_PADDED_BYTES = 2**31
"""Largest padded rectangle, bytes."""


class Scratch(Protocol):
    """Working memory of a call."""

    def keep(self, values: npt.NDArray[NumberT]) -> npt.NDArray[NumberT]:
        """Write values to the working memory and read them back."""
        ...


@dataclass(frozen=True, eq=False)
class Patch:
    """A rectangle of a tensor, with values (rows, columns, channels) of the tensor's dtype."""

    tensor: Tensor
    region: Region
    values: Values

    def rectangle(self, wanted: Region, fill: float | Values) -> Values:
        """The values of a rectangle, which may extend beyond the tensor, where they are `fill` (padding), one value or
        one a channel.

        Raises:
            ValueError: the rectangle needs a part of the tensor that is not in the patch: the plan reads too little.
            UserError: the padded rectangle is larger than `MOST_PADDED_BYTES`.
        """
        height, width, _ = extent(self.tensor)
        inside = Region(max(wanted.top, 0), min(wanted.bottom, height), max(wanted.left, 0), min(wanted.right, width))
        self._require(inside)
        have = self.values[
            inside.top - self.region.top : inside.bottom - self.region.top,
            inside.left - self.region.left : inside.right - self.region.left,
        ]
        if inside == wanted:
            return have
        if wanted.rows * wanted.columns * have.shape[2] * have.itemsize > MOST_PADDED_BYTES:
            raise UserError(
                f"{self.tensor.name}: windows reach over {wanted.rows} x {wanted.columns} pixels, the tensor has "
                f"{height} x {width}; the interpreter holds no such padding: use a smaller dilation or filter"
            )
        padded = np.full((wanted.rows, wanted.columns, have.shape[2]), fill, have.dtype)
        padded[
            inside.top - wanted.top : inside.bottom - wanted.top, inside.left - wanted.left : inside.right - wanted.left
        ] = have
        return padded

    def at(self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> Values:
        """The values at given rows and columns of the tensor, (len(rows), len(columns), channels)."""
        self._require(Region(rows.min(), rows.max() + 1, columns.min(), columns.max() + 1))
        return self.values[np.ix_(rows - self.region.top, columns - self.region.left)]

    def _require(self, wanted: Region) -> None:
        have = self.region
        if wanted.rows <= 0 or wanted.columns <= 0:
            return
        if wanted.top < have.top or wanted.bottom > have.bottom or wanted.left < have.left or wanted.right > have.right:
            raise ValueError(f"{self.tensor.name}: the step needs {wanted} but was given {have}")


@dataclass(frozen=True, eq=False)
class PatchCall:
    """One operator over one region of its output."""

    graph: Graph
    operator: Operator
    patches: tuple[Patch | None, ...]
    """Patches in the operator's input order; None for constants and omitted inputs."""
    region: Region
    """The part of the output to compute."""
    scratch: Scratch | None = None
    """Working memory; None where a network runs without a plan."""
    unpacked: tuple[int, int] = (0, 0)
    """(output channels, values of each) of packed or sparse weights that are unpacked into scratch at a time; (0, 0)
    where weights are read in place."""
    prepared: dict[tuple[Operator, str], Any] = field(default_factory=dict)
    """Values that earlier tiles of the run computed from constants; see `once`."""

    @property
    def output(self) -> Tensor:
        """The operator's first output tensor."""
        return self.graph.tensors[self.operator.outputs[0]]

    @property
    def first(self) -> Patch:
        """The patch of the first non-constant input."""
        return next(patch for patch in self.patches if patch is not None)

    def tensor(self, position: int) -> Tensor | None:
        """The operator's input tensor at a position, None if omitted."""
        inputs = self.operator.inputs
        if position >= len(inputs) or inputs[position] == ABSENT:
            return None
        return self.graph.tensors[inputs[position]]

    def required_tensor(self, position: int) -> Tensor:
        """The operator's input tensor at a position.

        Raises:
            ValueError: it is omitted, but required.
        """
        tensor = self.tensor(position)
        if tensor is None:
            raise ValueError(f"{self.operator.name}: {self.operator.kind} has no input {position}")
        return tensor

    def constant(self, position: int) -> Values | None:
        """The values of a constant input, None if omitted."""
        tensor = self.tensor(position)
        if tensor is None:
            return None
        if tensor.data is None:
            raise ValueError(
                f"{self.operator.name}: constant {tensor.name} has no values; this graph is for plans only"
            )
        return tensor.data

    def required_constant(self, position: int) -> Values:
        """The values of a constant input.

        Raises:
            ValueError: it is omitted, but required, or has no values.
        """
        values = self.constant(position)
        if values is None:
            raise ValueError(f"{self.operator.name}: {self.operator.kind} has no input {position}")
        return values

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """The result of `make`, which may depend on the operator's constants only; computed at the first tile of a
        run."""
        key = self.operator, name
        if key not in self.prepared:
            self.prepared[key] = make()
        made: Made = self.prepared[key]
        return made

    def keep(self, values: npt.NDArray[NumberT]) -> npt.NDArray[NumberT]:
        """Working values written to scratch and read back; returned unchanged without a plan."""
        return values if self.scratch is None else self.scratch.keep(values)

    def require_channels_last(self) -> None:
        """Check that the last axis of all non-constant tensors is the channel axis of `extent`.

        Raises:
            UserError: it is not, as in a tensor of rank 3.
        """
        for index in (*self.operator.inputs, *self.operator.outputs[:1]):
            tensor = self.graph.tensors[index] if index != ABSENT else None
            if tensor is not None and not tensor.is_constant and tensor.shape and extent(tensor)[2] != tensor.shape[-1]:
                if self.operator.kind == "ARG_MAX" and index in self.operator.outputs:
                    continue
                raise UserError(
                    f"{self.operator.name}: {self.operator.kind} of the shape {tensor.shape} cannot be run; "
                    "export the network with images of shape (1, rows, columns, channels)"
                )

    @property
    def activation(self) -> str:
        """Name of the fused activation, "NONE" without one."""
        name: str = self.operator.attributes.get("activation", "NONE")
        return name


def whole(tensor: Tensor) -> Region:
    """The region of a whole tensor."""
    rows, columns, _ = extent(tensor)
    return Region(0, rows, 0, columns)
