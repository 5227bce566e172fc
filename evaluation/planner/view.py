"""What a plan depends on, of a graph: two graphs with the same view have the same plan but for its name.

Shapes and bit-widths are known before a network is trained, the bytes its weights are stored in often too. So the plan
made beforehand is the plan of the trained network, wherever their views are equal.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from evaluation.graph import ABSENT, Graph, Operator, Tensor
from evaluation.planner.accounting import padding_zeros
from evaluation.planner.kernels import alike
from evaluation.planner.weights import layer_storage, multiplies_bytes, needs_unpacking


def planning_view(graph: Graph) -> dict[str, Any]:
    """Everything that `evaluation.planner.plan` reads of a graph but its name, as a tree of plain values.

    Of the constants their stored bytes, not their values; of grids whether two are the same, not what they are.
    """
    zeros = padding_zeros(graph)
    names = {zero: number for number, zero in enumerate(dict.fromkeys(zeros.values()))}
    return {
        "tensors": [_tensor(tensor) for tensor in graph.tensors],
        "operators": [
            _operator(graph, index) | {"padding": names.get(zeros.get(index))} for index in range(len(graph.operators))
        ],
        "inputs": graph.inputs,
        "outputs": graph.outputs,
    }


def _tensor(tensor: Tensor) -> tuple[Any, ...]:
    grid = None if tensor.quantization is None else [tensor.quantization.scale.size, tensor.quantization.axis]
    return tensor.name, tensor.shape, tensor.dtype, tensor.bits, tensor.is_constant, grid


def _operator(graph: Graph, index: int) -> dict[str, Any]:
    operator = graph.operators[index]
    return {
        "kind": operator.kind,
        "name": operator.name,
        "inputs": operator.inputs,
        "outputs": operator.outputs,
        "attributes": operator.attributes,
        "storage": asdict(layer_storage(graph, index)),
        "kernel": [multiplies_bytes(graph, index), needs_unpacking(graph, index)],
        "same_grid": _same_grid(graph, operator),
    }


def _same_grid(graph: Graph, operator: Operator) -> list[bool] | None:
    """Of what is put side by side: whether each input is on the output's grid."""
    if operator.kind != "CONCATENATION":
        return None
    output = graph.tensors[operator.outputs[0]]
    return [index != ABSENT and alike(graph.tensors[index], output) for index in operator.inputs]
