"""A TensorFlow GraphDef with frozen constants: its nodes, and the way from one to the next."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from evaluation.errors import UserError

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
_HANDED_ON = ("Identity", "StopGradient", "CheckNumerics", "PlaceholderWithDefault")
_FAKE_QUANTISED = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel")
_NORMALISED = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
_PASSED = (*_HANDED_ON, *_FAKE_QUANTISED, *_NORMALISED, "BiasAdd", "BatchToSpaceND", "Relu", "Relu6")
_DEFAULT_EPSILON = 1e-4  # of FusedBatchNorm, where the attribute is left out
_ARITHMETIC = ("Add", "AddV2", "Sub", "Mul")
_TRAINED = re.compile(r"(^|/)(weights|depthwise_weights|biases|gamma|beta|moving_mean|moving_variance)$")


class FrozenGraph:
    """Read-only; nodes have their names, data inputs no output index. Raises `UserError` naming file and node."""

    def __init__(self, path: Path) -> None:
        from google.protobuf.message import DecodeError

        from deeplab.tensorflow import tf

        self.path = str(path)
        try:
            definition = tf.compat.v1.GraphDef.FromString(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; expected a frozen graph (.pb)") from None
        except DecodeError:
            raise UserError(f"{path}: not a TensorFlow graph, or cut off; expected a frozen GraphDef (.pb)") from None
        if any(node.op in ("VariableV2", "VarHandleOp", "Variable") for node in definition.node):
            raise UserError(f"{path}: holds variables without their values; freeze it, or give the checkpoint instead")
        if not definition.node:
            raise UserError(f"{path}: no graph in it (of a SavedModel?); expected a frozen GraphDef (.pb)")
        self.definition = definition
        self.nodes = {node.name: node for node in definition.node}
        self.consumers: dict[str, list[str]] = defaultdict(list)
        for node in definition.node:
            for source in self.inputs(node.name):
                self.consumers[source].append(node.name)
        self._make_array, self._no_attribute = tf.make_ndarray, tf.compat.v1.AttrValue()
        self._convolutions: dict[str, str] = {}
        self._normalisations: dict[str, bool] = {}

    def refuse(self, name: str, expected: str) -> NoReturn:
        raise UserError(
            f"{self.path}: not a DeepLab on MobileNetV2 that can be imported: node {name} ({self.kind(name)}) does not "
            f"fit, expected {expected}"
        )

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _node(self, name: str) -> Any:
        if name not in self.nodes:
            raise UserError(f"{self.path}: node {name} is missing; the file is cut off or only a part of a graph")
        return self.nodes[name]

    def kind(self, name: str) -> str:
        return self._node(name).op

    def attribute(self, name: str, key: str) -> Any:
        """An AttrValue, empty where the node has none: a value that equals its default may have been left out."""
        return self._node(name).attr.get(key, self._no_attribute)  # [key] would write it into the graph

    def inputs(self, name: str) -> list[str]:
        return [source.split(":")[0] for source in self._node(name).input if not source.startswith("^")]

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a constant, seen through identities; None for anything else."""
        if self.kind(name := self._handed_on(name)) != "Const":
            return None
        try:
            return self._make_array(self.attribute(name, "value").tensor)
        except (TypeError, ValueError):
            self.refuse(name, "a readable constant")

    def _handed_on(self, name: str) -> str:
        """The node whose value arrives here through identities."""
        for _ in self.nodes:  # more steps than nodes are a cycle
            if self.kind(name) not in _HANDED_ON:
                return name
            name = self.inputs(name)[0]
        self.refuse(name, "a graph without cycles")

    def trained(self) -> dict[str, np.ndarray]:
        """Values of the former variables, by their names."""
        names = [node.name for node in self.definition.node if node.op == "Const" and _TRAINED.search(node.name)]
        return {name: value for name in names if (value := self.constant(name)) is not None}

    # -- convolutions --------------------------------------------------------------------------------------------------

    def convolution(self, kernel: str) -> str:
        """The one convolution that a constant is the kernel of, past nodes of fake quantization."""
        if kernel in self._convolutions:
            return self._convolutions[kernel]
        found, reached = [], [kernel]
        for name in reached:
            for user in self.consumers[name]:
                if self.kind(user) in CONVOLUTIONS:
                    found.append(user)
                elif self.kind(user) in (*_HANDED_ON, *_FAKE_QUANTISED, "Mul"):
                    reached.append(user)
        if len(found) != 1:
            word = "no convolution" if not found else f"{len(found)} convolutions ({', '.join(found[:2])})"
            raise UserError(f"{self.path}: {kernel} is the kernel of {word}, expected one; export it with one scale")
        self._convolutions[kernel] = found[0]
        return found[0]

    def source(self, convolution: str) -> str:
        """The input of a convolution, before SpaceToBatchND."""
        return self._spaced(convolution)[0]

    def window(self, convolution: str) -> tuple[int, int]:
        """(stride, dilation), equal in both directions. TensorFlow 1 writes dilation as SpaceToBatchND around it."""
        strides = list(self.attribute(convolution, "strides").list.i)
        dilations = list(self.attribute(convolution, "dilations").list.i) or [1, 1, 1, 1]
        _, spacing = self._spaced(convolution)
        layout = self.attribute(convolution, "data_format").s or b"NHWC"
        if layout != b"NHWC" or strides[1] != strides[2] or dilations[1] != dilations[2]:
            self.refuse(convolution, "NHWC, and strides and dilations equal in both directions")
        return strides[1], dilations[1] * spacing

    def is_padded(self, convolution: str) -> bool:
        """Whether padding is SAME; where SpaceToBatchND pads, the convolution itself is VALID."""
        spaced = self._spaced(convolution)[1] > 1
        return self.attribute(convolution, "padding").s == (b"VALID" if spaced else b"SAME")

    def _spaced(self, convolution: str) -> tuple[str, int]:
        name = self.inputs(convolution)[0]
        before = self._handed_on(name)
        if self.kind(before) != "SpaceToBatchND":
            return name, 1
        block = self.constant(self.inputs(before)[1])
        if block is None or block.shape != (2,) or block[0] != block[1]:
            self.refuse(before, "a constant block shape, equal in both directions")
        return self.inputs(before)[0], int(block[0])

    def epsilon(self, gamma: str) -> float | None:
        """Epsilon of the BatchNorm that a constant scales; None where the graph does not show it."""
        for name in (users := [gamma]):
            for user in self.consumers[name]:
                if self.kind(user) in _NORMALISED:
                    if "is_training" not in self._node(user).attr or self.attribute(user, "is_training").b:
                        self.refuse(user, "BatchNorm of inference (is_training=False)")
                    return float(self.attribute(user, "epsilon").f) or _DEFAULT_EPSILON
                if self.kind(user) in _HANDED_ON:
                    users.append(user)
        added = f"{gamma.rsplit('/', 1)[0]}/batchnorm/add/y"
        value = self.constant(added) if added in self.nodes else None
        return float(value) if value is not None else None

    # -- the way back --------------------------------------------------------------------------------------------------

    def back(self, name: str) -> tuple[str, set[str]]:
        """Walk from a tensor to the operation that makes it, past normalisation, bias and activation.

        Returns:
            (node, activations passed: `Relu`, `Relu6`).
        """
        activations = set()
        for _ in self.nodes:  # more steps than nodes are a cycle
            kind, sources = self.kind(name), self.inputs(name)
            if kind in ("Relu", "Relu6"):
                activations.add(kind)
            if kind in _PASSED or (kind == "AddN" and len(sources) == 1):
                name = sources[0]
            elif kind in _ARITHMETIC and len(rest := [s for s in sources if not self._is_normalisation(s)]) == 1:
                name = rest[0]
            else:
                return name, activations
        self.refuse(name, "a graph without cycles")

    def _is_normalisation(self, name: str) -> bool:
        """Whether a value depends on constants of a BatchNorm alone (the form of one that is not fused)."""
        if name not in self._normalisations:
            ends = [node for node in self.before(name) if not self.inputs(node)]
            is_constant = all(self.kind(end) == "Const" for end in ends)
            self._normalisations[name] = is_constant and any("BatchNorm" in end for end in ends)
        return self._normalisations[name]

    def before(self, name: str) -> list[str]:
        """The node and all that it is computed from."""
        order, seen = [name], {name}
        for node in order:
            new = [source for source in dict.fromkeys(self.inputs(node)) if source not in seen]
            seen.update(new)
            order.extend(new)
        return order
