"""`FileGraphBuilder`: the file graph, operator by operator, and changes of the layout of its tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.importing.onnx_values import (
    INSERTED,
    Activation,
    Constant,
    arranged_constant,
    physical_shape,
    without_leading_ones,
)
from evaluation.graph import Graph, Operator, Quantization, Tensor

MOST_ELEMENTS = 1 << 31
"""Bound of the elements of one activation. A damaged file of a few bytes can state any size."""
_MOST_RANK = 8
_BITS = {"float32": 32, "int32": 32, "int64": 64, "int8": 8, "uint8": 8, "bool": 8}


class FileGraphBuilder:
    """Tensors and operators of a file graph. A method that adds an operator returns the index of what it writes.

    Raises:
        ValueError: a shape that no tensor can have.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self._names: set[str] = set()
        self._writers: dict[int, int] = {}

    def activation(self, name: str, shape: Sequence[int], dtype: str = "float32") -> int:
        if len(shape) > _MOST_RANK or any(size < 1 for size in shape) or math.prod(shape) > MOST_ELEMENTS:
            raise ValueError(f"a tensor of shape {list(shape)}")
        return self._add(Tensor(self._unique(name), tuple(map(int, shape)), dtype, _BITS[dtype]))

    def constant(self, name: str, array: np.ndarray, quantization: Quantization | None = None) -> int:
        """A constant; floating values become float32, integers stay."""
        values = np.ascontiguousarray(array, np.float32 if array.dtype.kind not in "iub" else array.dtype)
        values = values.reshape(array.shape)  # of rank 0, too
        dtype = values.dtype.name
        return self._add(
            Tensor(self._unique(name), values.shape, dtype, _BITS[dtype], quantization, is_constant=True, data=values)
        )

    def integers(self, name: str, values: Any) -> int:
        """An int32 constant, for inputs that state axes and sizes."""
        return self.constant(name, np.array(values, np.int32))

    def operate(
        self,
        kind: str,
        name: str,
        inputs: Sequence[int],
        shapes: Sequence[Sequence[int]],
        outputs: Sequence[str],
        attributes: dict[str, Any],
        dtype: str = "float32",
    ) -> tuple[int, ...]:
        """Append an operator and the tensors that it writes, named `outputs`; the indices of these."""
        written = tuple(self.activation(output, shape, dtype) for output, shape in zip(outputs, shapes, strict=True))
        self._writers.update(dict.fromkeys(written, len(self.operators)))
        self.operators.append(Operator(kind, name, tuple(inputs), written, attributes))
        return written

    def writer(self, tensor: int) -> Operator | None:
        """The operator that writes an activation; None for the input and constants."""
        index = self._writers.get(tensor)
        return None if index is None else self.operators[index]

    def change_writer(self, tensor: int, **attributes: Any) -> None:
        """Give the operator that writes an activation other attributes."""
        index = self._writers[tensor]
        own = self.operators[index]
        self.operators[index] = replace(own, attributes={**own.attributes, **attributes})

    def quantize(self, tensor: int, quantization: Quantization | None) -> None:
        """Give an activation quantization parameters; the first that a file states for it stay."""
        if self.tensors[tensor].quantization is None:
            self.tensors[tensor] = replace(self.tensors[tensor], quantization=quantization)

    # -- layouts -------------------------------------------------------------------------------------------------------

    def reshape(self, name: str, tensor: int, shape: Sequence[int]) -> int:
        """The tensor in another shape; itself where it has that shape."""
        if self.tensors[tensor].shape == tuple(shape):
            return tensor
        stated = self.integers(f"{name}/shape", shape)
        return self._moved("RESHAPE", name, tensor, stated, shape, {})

    def copied(self, tensor: int, name: str) -> int:
        """The same values as another tensor, by a RESHAPE to the shape that is there."""
        shape = self.tensors[tensor].shape
        return self._moved("RESHAPE", name, tensor, self.integers(f"{name}/shape", shape), shape, {})

    def _moved(
        self, kind: str, name: str, source: int, stated: int, shape: Sequence[int], attributes: dict[str, Any]
    ) -> int:
        """Append an operator that only moves values, so that its output is quantized as its input."""
        given = self.tensors[source]
        (moved,) = self.operate(kind, name, (source, stated), [shape], [name], attributes, given.dtype)
        self.tensors[moved] = replace(self.tensors[moved], quantization=given.quantization)
        return moved

    def arranged(self, value: Activation, axes: Sequence[int], name: str) -> int:
        """The tensor of a value in the layout `axes`: its own, or one that a RESHAPE or TRANSPOSE called `name` writes.

        Args:
            axes: naming all axes of the value of more than one element.
        """
        wanted = replace(value, axes=tuple(axes))
        if set(wanted.order) != set(value.order):
            raise ValueError(f"axes {list(axes)} for a value of shape {list(value.shape)}")
        if wanted.order == value.order:
            return self.reshape(f"{name}/reshape", value.tensor, wanted.physical_shape)
        # Axes of size 1 are of no account: the transposition is that of the others behind one batch axis.
        plain = replace(value, axes=(INSERTED, *value.order))
        source = self.reshape(f"{name}/reshape", value.tensor, plain.physical_shape)
        permutation = (0, *(1 + value.order.index(axis) for axis in wanted.order))
        shape = physical_shape(value.shape, (INSERTED, *wanted.order))
        order = self.integers(f"{name}/permutation", permutation)
        attributes: dict[str, Any] = {"permutation": permutation}
        moved = self._moved("TRANSPOSE", f"{name}/transpose", source, order, shape, attributes)
        return self.reshape(f"{name}/shaped", moved, wanted.physical_shape)

    def operand(self, value: Activation | Constant, rank: int, axes: Sequence[int], name: str) -> int:
        """The tensor of an operand that is broadcast to `rank` axes in the layout `axes`.

        Args:
            value: an activation of `rank` axes already, or a constant.
        """
        if isinstance(value, Activation):
            return self.arranged(value, axes, name)
        array = without_leading_ones(arranged_constant(value.array, rank, axes))
        kept = value.quantization if value.quantization is not None and value.quantization.axis is None else None
        return self.constant(f"{name}/constant", array, kept)

    # -- end -----------------------------------------------------------------------------------------------------------

    def finished(self, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
        return Graph(self.name, tuple(self.tensors), tuple(self.operators), tuple(inputs), tuple(outputs))

    def rename(self, tensor: int, name: str) -> None:
        """Give a tensor a name that no other has; another one that has it gets another."""
        for index, other in enumerate(self.tensors):
            if other.name == name and index != tensor:
                self.tensors[index] = replace(other, name=self._unique(name))
        self.tensors[tensor] = replace(self.tensors[tensor], name=name)
        self._names.add(name)

    def _unique(self, name: str) -> str:
        own, number = name or "tensor", 1
        while own in self._names:
            own, number = f"{name}_{number}", number + 1
        self._names.add(own)
        return own

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1
