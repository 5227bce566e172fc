"""A TensorFlow GraphDef with frozen constants (.pb): its nodes, checked, and the way from one to the next."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from evaluation.errors import UserError

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
_HANDED_ON = ("StopGradient", "CheckNumerics", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs",
              "FakeQuantWithMinMaxVarsPerChannel")  # fmt: skip
"""Kinds of nodes that an import takes as identities."""
_MOST_ELEMENTS = 1 << 27
"""Elements of all constants. A damaged file of a few bytes can state any number of equal ones."""


class FrozenGraph:
    """Read-only; nodes have their names, data inputs no output index. Raises `UserError` naming file and node."""

    def __init__(self, path: Path) -> None:
        from google.protobuf.message import DecodeError

        from deeplab.tensorflow import tf

        self.path = str(path)
        try:
            self._definition = tf.compat.v1.GraphDef.FromString(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; expected a frozen graph (.pb)") from None
        except DecodeError:
            raise UserError(f"{path}: not a TensorFlow graph, or cut off; expected a frozen GraphDef (.pb)") from None
        if any(node.op in ("VariableV2", "VarHandleOp", "Variable") for node in self._definition.node):
            raise UserError(f"{path}: holds variables without their values; freeze it, or give the checkpoint instead")
        if not self._definition.node:
            raise UserError(f"{path}: no graph in it (of a SavedModel?); expected a frozen GraphDef (.pb)")
        texts = (text for node in self._definition.node for text in (node.name, node.op, *node.input))
        if not all(text.isprintable() for text in texts):
            raise UserError(f"{path}: names nodes by characters that cannot be printed; the file is damaged")
        self._make_array = tf.make_ndarray
        self.nodes = {node.name: node for node in self._definition.node}
        for node in self._definition.node:
            node.input[:] = [source for source in node.input if not source.startswith("^")]
            if node.op in _HANDED_ON:
                node.op, node.input[:] = "Identity", node.input[:1]
                node.attr.clear()
                node.attr["T"].type = tf.float32.as_datatype_enum
        constants = [node for node in self.nodes.values() if node.op == "Const"]
        for node in constants:
            if node.attr["dtype"].type != node.attr["value"].tensor.dtype:  # TensorFlow would end the process
                self.refuse(node.name, "a constant of the type that it states")
        shapes = [node.attr["value"].tensor.tensor_shape for node in constants]
        if sum(math.prod(max(axis.size, 0) for axis in shape.dim) for shape in shapes) > _MOST_ELEMENTS:
            raise UserError(f"{path}: states more than {_MOST_ELEMENTS:,} weights; the file is damaged")

    def refuse(self, name: str, expected: str) -> NoReturn:
        raise UserError(
            f"{self.path}: no network that can be imported: node {name} ({self.kind(name)}) does not fit, expected "
            f"{expected}"
        )

    def node(self, name: str) -> Any:
        if name not in self.nodes:
            raise UserError(f"{self.path}: node {name} is missing; the file is cut off or only a part of a graph")
        return self.nodes[name]

    def kind(self, name: str) -> str:
        return self.node(name).op

    def inputs(self, name: str) -> list[str]:
        return [source.split(":")[0] for source in self.node(name).input]

    def handed_on(self, name: str) -> str:
        """The node whose value arrives here through identities."""
        for _ in self.nodes:  # more steps than nodes are a cycle
            if self.kind(name) != "Identity":
                return name
            name = self.inputs(name)[0]
        self.refuse(name, "a graph without cycles")

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a constant, seen through identities; None for anything else."""
        node = self.node(self.handed_on(name))
        if node.op != "Const":
            return None
        try:
            return self._make_array(node.attr["value"].tensor)
        except (TypeError, ValueError):
            self.refuse(node.name, "a readable constant")

    def before(self, name: str, until: Collection[str] = ()) -> list[str]:
        """The node and all that it is computed from, but for the nodes `until` and what only they need."""
        order, seen = [name], {name, *until}
        for node in order:
            new = [source for source in dict.fromkeys(self.inputs(node)) if source not in seen]
            seen.update(new)
            order.extend(new)
        return order

    def part(self, name: str, until: Collection[str] = ()) -> Any:
        """A GraphDef of the nodes `before`."""
        needed = set(self.before(name, until))
        definition = type(self._definition)()
        definition.node.extend(node for node in self._definition.node if node.name in needed)
        return definition
