"""A node of an ONNX graph, and one conversion of it: attributes, inputs, and refusals that name file and node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import onnx

from deeplab.importing.onnx_builder import FileGraphBuilder
from deeplab.importing.onnx_values import NHWC, Activation, Constant, Value
from evaluation.errors import UserError
from evaluation.listing import shortened


@dataclass(frozen=True, eq=False)
class Node:
    """Read-only view of a NodeProto."""

    definition: onnx.NodeProto
    file: str

    @property
    def kind(self) -> str:
        return self.definition.op_type

    @property
    def name(self) -> str:
        """The node's name; its first output's where it has none, as it need not."""
        return self.definition.name or next((output for output in self.definition.output if output), self.kind)

    def refuse(self, expected: str) -> NoReturn:
        raise UserError(
            f"{self.file}: no network that can be imported: node '{shortened(str(self.name))}' "
            f"({shortened(str(self.kind))}) does not fit, expected {expected}"
        )

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as a number, text, tuple of numbers, or TensorProto."""
        for attribute in self.definition.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                if isinstance(value, bytes):
                    return value.decode("utf-8")
                return tuple(value) if attribute.type == onnx.AttributeProto.INTS else value
        return default


@dataclass(frozen=True, eq=False)
class Call:
    """What the conversion of one node works with."""

    node: Node
    inputs: tuple[Value | None, ...]
    """None where an optional input is left out."""
    graph: FileGraphBuilder
    opset: int

    def refuse(self, expected: str) -> NoReturn:
        self.node.refuse(expected)

    def has(self, position: int) -> bool:
        return position < len(self.inputs) and self.inputs[position] is not None

    def value(self, position: int) -> Value:
        value = self.inputs[position] if position < len(self.inputs) else None
        if value is None:
            self.refuse(f"an input at position {position}")
        if isinstance(value, Activation) and value.stored is not None:
            self.refuse("real values; only quantization in the QDQ form is imported, each QuantizeLinear with a "
                        "DequantizeLinear right behind it")  # fmt: skip
        return value

    def activation(self, position: int = 0) -> Activation:
        value = self.value(position)
        if isinstance(value, Constant):
            self.refuse(f"input {position} to be computed from the image, not a constant")
        return value

    def moved(self) -> Activation:
        """The first input, of an operator that only moves values: it may be between QuantizeLinear and
        DequantizeLinear."""
        value = self.inputs[0] if self.inputs else None
        return value if isinstance(value, Activation) else self.activation()

    def constant(self, position: int, what: str) -> np.ndarray:
        value = self.value(position)
        if not isinstance(value, Constant):
            self.refuse(f"constant {what}, not computed from the image")
        return value.array

    def optional(self, position: int, what: str) -> np.ndarray | None:
        return self.constant(position, what) if self.has(position) else None

    def integers(self, position: int, what: str) -> tuple[int, ...] | None:
        """Integers that older operator sets have as the attribute `what`, newer ones as an input."""
        if self.has(position):
            return tuple(int(value) for value in self.constant(position, what).reshape(-1))
        found = self.node.attribute(what)
        return None if found is None else tuple(found)

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front."""
        if not -rank <= axis < rank:
            self.refuse(f"an axis of a tensor of rank {rank}, not {axis}")
        return axis % rank

    def axes(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        return tuple(sorted({self.axis(axis, rank) for axis in axes}))

    def image(self, position: int = 0) -> Activation:
        """An activation (1, channels, height, width) whose tensor is NHWC."""
        value = self.activation(position)
        if len(value.shape) != 4 or value.shape[0] != 1:
            self.refuse(f"an image (1, channels, height, width) at its input, not {list(value.shape)}")
        return replace(value, tensor=self.graph.arranged(value, NHWC, self.node.name), axes=NHWC)

    def operate(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        part: str = "",
        dtype: str = "float32",
        **attributes: Any,
    ) -> int:
        """Append an operator of one output.

        Args:
            part: behind the node's name where the node becomes several operators; the last of them has none.
        """
        ending = f"/{part}" if part else ""
        name, output = f"{self.node.name}{ending}", f"{self.node.definition.output[0]}{ending}"
        return self.graph.operate(kind, name, inputs, [shape], [output], attributes, dtype)[0]

    def unary(self, kind: str, value: Activation, part: str = "", **attributes: Any) -> Activation:
        """Append an operator on each value of its own, whatever the layout."""
        tensor = self.operate(kind, (value.tensor,), value.physical_shape, part, **attributes)
        return replace(value, tensor=tensor)
