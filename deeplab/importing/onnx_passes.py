"""Simplifications of a file graph: constants and activation functions that a convolution takes over, HARD_SWISH.

A graph is changed only where nothing else reads what goes away. A tensor with quantization parameters stays, since the
file states a value at that place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.graph import ABSENT, Graph, Operator, Tensor
from evaluation.graph.input_counts import ANY

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")
_TOLERANCE = 1e-5


def simplified(graph: Graph) -> Graph:
    """The graph with batch normalizations and channel orders folded, activation functions fused, HARD_SWISH found, and
    without operators that nothing needs."""
    steps = (
        _with_clamps_joined,
        _with_hard_swish,
        _with_affine_folded,
        _with_orders_folded,
        _with_activations_fused,
        _with_reshapes_joined,
    )
    for step in steps:
        graph = step(graph)
    return graph


class _Edit:
    """A graph whose operators are replaced one by one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors = list(graph.tensors)
        self.operators: list[Operator | None] = list(graph.operators)
        self._writer = {tensor: index for index, own in enumerate(graph.operators) for tensor in own.outputs}
        self._readers = Counter(tensor for own in graph.operators for tensor in own.inputs)
        self._readers.update(graph.outputs)

    def writer(self, tensor: int, kinds: tuple[str, ...], readers: int = 1) -> tuple[int, Operator] | None:
        """The operator of one of some kinds that writes a tensor, if the tensor has no more readers than `readers`."""
        index = self._writer.get(tensor)
        own = None if index is None else self.operators[index]
        if index is None or own is None or own.kind not in kinds or self._readers[tensor] > readers:
            return None
        return index, own

    def replace(self, index: int, own: Operator) -> None:
        self.operators[index] = own
        self._writer.update(dict.fromkeys(own.outputs, index))

    def remove(self, index: int) -> None:
        self.operators[index] = None

    def constant(self, tensor: int) -> np.ndarray | None:
        return self.tensors[tensor].data

    def number(self, operator: Operator, value: float) -> int | None:
        """The operand of a binary operator whose other operand is a constant of one value."""
        for place in (0, 1):
            data = self.constant(operator.inputs[1 - place])
            if data is not None and data.size == 1 and abs(float(data.reshape(())) - value) <= _TOLERANCE * abs(value):
                return operator.inputs[place]
        return None

    def finished(self) -> Graph:
        kept = tuple(own for own in self.operators if own is not None)
        return replace(self.graph, tensors=tuple(self.tensors), operators=kept)


# -- clamps ------------------------------------------------------------------------------------------------------------


def _with_clamps_joined(graph: Graph) -> Graph:
    """MAXIMUM with 0 as RELU; a RELU and a MINIMUM with 6, in either order, as RELU6."""
    edit = _Edit(graph)
    for index, own in enumerate(graph.operators):
        if own.kind == "MAXIMUM" and (source := edit.number(own, 0.0)) is not None:
            own = Operator("RELU", own.name, (source,), own.outputs)
            edit.replace(index, own)
        before = None
        if own.kind == "MINIMUM" and (source := edit.number(own, 6.0)) is not None:
            before = edit.writer(source, ("RELU",))
        elif own.kind == "RELU" and (found := edit.writer(own.inputs[0], ("MINIMUM",))) is not None:
            before = found if edit.number(found[1], 6.0) is not None else None
        if before is not None and edit.tensors[before[1].outputs[0]].quantization is None:
            other = before[1].inputs[0] if before[1].kind == "RELU" else edit.number(before[1], 6.0)
            if other is not None:
                edit.replace(index, Operator("RELU6", own.name, (other,), own.outputs))
    return without_unused(edit.finished())


# -- HARD_SWISH --------------------------------------------------------------------------------------------------------


def _with_hard_swish(graph: Graph) -> Graph:
    """x RELU6(x + 3) / 6, in whatever order it is multiplied, as HARD_SWISH (Howard et al. 2019, section 5.2)."""
    edit = _Edit(graph)
    for index, own in enumerate(graph.operators):
        source = _hard_swish_source(edit, own)
        if source is not None:
            edit.replace(index, Operator("HARD_SWISH", own.name, (source,), own.outputs))
    return without_unused(edit.finished())


def _hard_swish_source(edit: _Edit, own: Operator) -> int | None:
    if own.kind not in ("MUL", "DIV") or own.attributes.get("activation", "NONE") != "NONE":
        return None
    product = _sixth_of(edit, own)  # (x RELU6(x + 3)) / 6
    if product is not None and (found := edit.writer(product, ("MUL",))) is not None:
        return _gated(edit, found[1], lambda gate: gate)
    if own.kind == "MUL":  # x (RELU6(x + 3) / 6)
        return _gated(edit, own, lambda gate: _sixth_of_tensor(edit, gate))
    return None


def _gated(edit: _Edit, own: Operator, gate_of: Callable[[int], int | None]) -> int | None:
    """x of a product x * g, where `gate_of(g)` is RELU6(x + 3)."""
    for source, other in (own.inputs, own.inputs[::-1]):
        gate = gate_of(other)
        clamp = None if gate is None else edit.writer(gate, ("RELU6",))
        shift = None if clamp is None else edit.writer(clamp[1].inputs[0], ("ADD",))
        if shift is not None and shift[1].attributes["activation"] == "NONE" and edit.number(shift[1], 3.0) == source:
            return source
    return None


def _sixth_of(edit: _Edit, own: Operator) -> int | None:
    if own.kind == "MUL":
        return edit.number(own, 1.0 / 6.0)
    divisor = edit.constant(own.inputs[1])
    is_sixth = divisor is not None and divisor.size == 1 and abs(float(divisor.reshape(())) - 6.0) <= 6 * _TOLERANCE
    return own.inputs[0] if is_sixth else None


def _sixth_of_tensor(edit: _Edit, tensor: int) -> int | None:
    found = edit.writer(tensor, ("MUL", "DIV"))
    return None if found is None else _sixth_of(edit, found[1])


# -- convolutions ------------------------------------------------------------------------------------------------------


def _with_affine_folded(graph: Graph) -> Graph:
    """MUL, DIV, ADD and SUB by a constant for each channel, as weights and bias of the convolution before them."""
    edit = _Edit(graph)
    for index, own in enumerate(graph.operators):
        if own.kind not in ("MUL", "DIV", "ADD", "SUB"):
            continue
        for place in (0,) if own.kind in ("DIV", "SUB") else (0, 1):
            found = edit.writer(own.inputs[place], _CONVOLUTIONS)
            constant = edit.constant(own.inputs[1 - place])
            if found is None or constant is None or edit.tensors[own.inputs[place]].quantization is not None:
                continue
            if _fold(edit, found, own, constant):
                edit.remove(index)
                break
    return without_unused(edit.finished())


def _fold(edit: _Edit, found: tuple[int, Operator], own: Operator, constant: np.ndarray) -> bool:
    """Fold `own` into the convolution `found`, if its constant is one for each channel."""
    index, convolution = found
    at = 1, 3 if convolution.kind == "TRANSPOSE_CONV" else 2
    kernel, bias = edit.tensors[convolution.inputs[at[0]]], edit.tensors[convolution.inputs[at[1]]]
    is_scale = own.kind in ("MUL", "DIV")
    output = edit.tensors[convolution.outputs[0]]
    channels = output.shape[3]
    is_by_channel = constant.size == 1 or constant.shape[-1] == constant.size == channels
    if convolution.attributes["activation"] != "NONE" or not is_by_channel:
        return False
    if edit.tensors[own.outputs[0]].shape != output.shape or (is_scale and kernel.quantization is not None):
        return False
    values = np.broadcast_to(constant.reshape(-1).astype(np.float64), (channels,))
    scale, shift = np.ones_like(values), values
    if is_scale:
        with np.errstate(all="ignore"):  # values that are not finite are refused by name where the network is read
            scale, shift = (values if own.kind == "MUL" else 1.0 / values), np.zeros_like(values)
    elif own.kind == "SUB":
        shift = -values
    along = (1, 1, 1, -1) if convolution.kind == "DEPTHWISE_CONV_2D" else (-1, 1, 1, 1)
    inputs = list(convolution.inputs)
    with np.errstate(all="ignore"):
        new_kernel = kernel.required_data * scale.reshape(along) if is_scale else kernel.required_data
        inputs[at[0]] = _added(edit, kernel, new_kernel)
        inputs[at[1]] = _added(edit, bias, bias.required_data * scale + shift)
    activation = own.attributes.get("activation", "NONE")
    attributes: dict[str, Any] = {**convolution.attributes, "activation": activation}
    edit.replace(index, replace(convolution, inputs=tuple(inputs), outputs=own.outputs, attributes=attributes))
    return True


def _with_orders_folded(graph: Graph) -> Graph:
    """A 1 x 1 convolution that only reorders channels, as another order of the filters of the one before it."""
    edit = _Edit(graph)
    for index, own in enumerate(graph.operators):
        order = _order(edit, own)
        found = None if order is None else edit.writer(own.inputs[0], ("CONV_2D",))
        if order is None or found is None or edit.tensors[own.inputs[0]].quantization is not None:
            continue
        place, convolution = found
        source, *constants = convolution.inputs
        if edit.tensors[constants[0]].quantization is None:
            moved = [_added(edit, edit.tensors[own], edit.tensors[own].required_data[order]) for own in constants]
            edit.replace(place, replace(convolution, inputs=(source, *moved), outputs=own.outputs))
            edit.remove(index)
    return edit.finished()


def _order(edit: _Edit, own: Operator) -> np.ndarray | None:
    """The input channel of each output channel, if a convolution does no more than that."""
    if own.kind != "CONV_2D" or own.attributes["activation"] != "NONE" or own.attributes["stride"] != (1, 1):
        return None
    kernel, bias = (edit.tensors[index].required_data for index in own.inputs[1:3])
    if kernel.shape[1:3] != (1, 1) or kernel.shape[0] != kernel.shape[3] or bias.any():
        return None
    order = kernel[:, 0, 0].argmax(axis=1)
    is_order = np.array_equal(kernel[:, 0, 0], np.eye(len(kernel), dtype=np.float32)[order])
    return order if is_order and len(set(order.tolist())) == len(order) else None


def _added(edit: _Edit, tensor: Tensor, values: np.ndarray) -> int:
    edit.tensors.append(replace(tensor, data=np.ascontiguousarray(values, np.float32)))
    return len(edit.tensors) - 1


def _with_activations_fused(graph: Graph) -> Graph:
    """RELU, RELU6 and RELU_N1_TO_1 as the activation function of the convolution before them."""
    edit = _Edit(graph)
    for index, own in enumerate(graph.operators):
        found = edit.writer(own.inputs[0], _CONVOLUTIONS) if own.kind in _ACTIVATIONS else None
        if found is None or edit.tensors[own.inputs[0]].quantization is not None:
            continue
        place, convolution = found
        if convolution.attributes["activation"] == "NONE":
            attributes: dict[str, Any] = {**convolution.attributes, "activation": own.kind}
            edit.replace(place, replace(convolution, outputs=own.outputs, attributes=attributes))
            edit.remove(index)
    return edit.finished()


# -- end ---------------------------------------------------------------------------------------------------------------


def _with_reshapes_joined(graph: Graph) -> Graph:
    """A RESHAPE of a RESHAPE reads what that one reads; one to the shape that is there already is passed over."""
    edit, same = _Edit(graph), dict[int, int]()
    for index, own in enumerate(graph.operators):
        inputs = tuple(same.get(tensor, tensor) for tensor in own.inputs)
        if own.kind == "RESHAPE" and (found := edit.writer(inputs[0], ("RESHAPE",), ANY)) is not None:
            inputs = (found[1].inputs[0], *inputs[1:])
        edit.replace(index, replace(own, inputs=inputs))
        source, result = edit.tensors[inputs[0]], edit.tensors[own.outputs[0]]
        is_plain = own.kind == "RESHAPE" and own.outputs[0] not in graph.outputs and result.quantization is None
        if is_plain and source.shape == result.shape:
            same[own.outputs[0]] = inputs[0]
    return without_unused(edit.finished())


def without_unused(graph: Graph) -> Graph:
    """The graph without operators and tensors that no output depends on. The input stays."""
    needed = set(graph.outputs)
    kept: list[Operator] = []
    for own in reversed(graph.operators):
        if needed.intersection(own.outputs):
            needed.update(own.inputs)
            kept.append(own)
    used = {index for own in kept for index in (*own.inputs, *own.outputs)} | set(graph.inputs) | set(graph.outputs)
    order = sorted(used - {ABSENT})
    place = {index: new for new, index in enumerate(order)} | {ABSENT: ABSENT}
    operators = tuple(
        replace(
            own,
            inputs=tuple(place[index] for index in own.inputs),
            outputs=tuple(place[index] for index in own.outputs),
        )
        for own in reversed(kept)
    )
    inputs, outputs = (tuple(place[index] for index in indices) for indices in (graph.inputs, graph.outputs))
    return Graph(graph.name, tuple(graph.tensors[index] for index in order), operators, inputs, outputs)
