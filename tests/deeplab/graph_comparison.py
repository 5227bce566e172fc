"""Networks compared by what they compute, whatever their operators are called."""

from typing import Any

import numpy as np

from deeplab.network import bias, convolutions, kernel
from evaluation.graph import Graph, Operator


def from_the_end(graph: Graph) -> list[Operator]:
    """All operators, each after those whose values it reads: an order that neither names nor the order of independent
    branches change."""
    writers = {operator.outputs[0]: operator for operator in graph.operators}
    order: list[Operator] = []

    def visit(tensor: int) -> None:
        operator = writers.get(tensor)
        if operator is not None and operator not in order:
            for source in operator.inputs:
                visit(source)
            order.append(operator)

    visit(graph.outputs[0])
    return order


def described(graph: Graph) -> list[dict[str, Any]]:
    """Kind, shapes, attributes and sources of each operator, in the order of `from_the_end`."""
    order = from_the_end(graph)
    number = {operator.outputs[0]: place for place, operator in enumerate(order)}
    return [
        {
            "kind": operator.kind,
            "shapes": [graph.tensors[index].shape for index in (*operator.inputs, *operator.outputs)],
            "attributes": dict(operator.attributes),
            "sources": [number.get(index) for index in operator.inputs],
        }
        for operator in order
    ]


def assert_same_weights(one: Graph, other: Graph, **tolerance: float) -> None:
    """Kernels and biases are equal, within `rtol` and `atol` where they are given."""
    pairs = zip(
        (operator for operator in from_the_end(one) if operator in convolutions(one)),
        (operator for operator in from_the_end(other) if operator in convolutions(other)),
        strict=True,
    )
    for ours, theirs in pairs:
        for part in (kernel, bias):
            np.testing.assert_allclose(part(one, ours), part(other, theirs), **{"rtol": 0.0, **tolerance})
