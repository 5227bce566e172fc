"""Activation functions that a file writes as several operators, and their fusion with convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deeplab.importing.onnx_edit import CONVOLUTIONS, TOLERANCE, GraphEdit, without_unused
from evaluation.graph import Graph, Operator

_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")


def with_clamps_joined(graph: Graph) -> Graph:
    """MAXIMUM with 0 as RELU; a RELU and a MINIMUM with 6, in either order, as RELU6."""
    edit = GraphEdit(graph)
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


def with_hard_swish(graph: Graph) -> Graph:
    """x RELU6(x + 3) / 6, in whatever order it is multiplied, as HARD_SWISH (Howard et al. 2019, section 5.2)."""
    edit = GraphEdit(graph)
    for index, own in enumerate(graph.operators):
        source = _hard_swish_source(edit, own)
        if source is not None:
            edit.replace(index, Operator("HARD_SWISH", own.name, (source,), own.outputs))
    return without_unused(edit.finished())


def _hard_swish_source(edit: GraphEdit, own: Operator) -> int | None:
    if own.kind not in ("MUL", "DIV") or own.attributes.get("activation", "NONE") != "NONE":
        return None
    product = _sixth_of(edit, own)  # (x RELU6(x + 3)) / 6
    if product is not None and (found := edit.writer(product, ("MUL",))) is not None:
        return _gated(edit, found[1], lambda gate: gate)
    if own.kind == "MUL":  # x (RELU6(x + 3) / 6)
        return _gated(edit, own, lambda gate: _sixth_of_tensor(edit, gate))
    return None


def _gated(edit: GraphEdit, own: Operator, gate_of: Callable[[int], int | None]) -> int | None:
    """x of a product x * g, where `gate_of(g)` is RELU6(x + 3)."""
    for source, other in (own.inputs, own.inputs[::-1]):
        gate = gate_of(other)
        clamp = None if gate is None else edit.writer(gate, ("RELU6",))
        shift = None if clamp is None else edit.writer(clamp[1].inputs[0], ("ADD",))
        if shift is not None and shift[1].attributes["activation"] == "NONE" and edit.number(shift[1], 3.0) == source:
            return source
    return None


def _sixth_of(edit: GraphEdit, own: Operator) -> int | None:
    if own.kind == "MUL":
        return edit.number(own, 1.0 / 6.0)
    divisor = edit.constant(own.inputs[1])
    is_sixth = divisor is not None and divisor.size == 1 and abs(float(divisor.reshape(())) - 6.0) <= 6 * TOLERANCE
    return own.inputs[0] if is_sixth else None


def _sixth_of_tensor(edit: GraphEdit, tensor: int) -> int | None:
    found = edit.writer(tensor, ("MUL", "DIV"))
    return None if found is None else _sixth_of(edit, found[1])


def with_activations_fused(graph: Graph) -> Graph:
    """RELU, RELU6 and RELU_N1_TO_1 as the activation function of the convolution before them."""
    edit = GraphEdit(graph)
    for index, own in enumerate(graph.operators):
        found = edit.writer(own.inputs[0], CONVOLUTIONS) if own.kind in _ACTIVATIONS else None
        if found is None or edit.tensors[own.inputs[0]].quantization is not None:
            continue
        place, convolution = found
        if convolution.attributes["activation"] == "NONE":
            attributes: dict[str, Any] = {**convolution.attributes, "activation": own.kind}
            edit.replace(place, replace(convolution, outputs=own.outputs, attributes=attributes))
            edit.remove(index)
    return edit.finished()
