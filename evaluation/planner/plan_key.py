"""The cache key of a plan: all of a graph that a plan depends on, so that graphs with equal keys share one plan.

Shapes and bit-widths are known before a network is trained, so the plan made beforehand is the trained network's. And
weights of 4 and of 6 bits are unpacked into the same scratch: only their stored bytes differ, which are added.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.graph import ABSENT, Graph, Operator, Tensor
from evaluation.kernels.contract import alike
from evaluation.kernels.selection import kernel_of
from evaluation.kernels.targets import Target
from evaluation.kernels.weights import layer_storage, needs_unpacking, weights_bytes
from evaluation.planner.ir.plan_types import Plan


def plan_cache_key(graph: Graph) -> dict[str, Any]:
    """Everything that `evaluation.planner.plan` reads of a graph but its name and the bytes of its constants.

    The key holds the storage format of a constant and not its values, and whether quantization parameters are equal and
    not their values. It is a tree of plain values.
    """
    return {
        "tensors": [_tensor(tensor) for tensor in graph.tensors],
        "operators": [_operator(graph, index) for index in range(len(graph.operators))],
        "inputs": graph.inputs,
        "outputs": graph.outputs,
    }


def with_weights_of(made: Plan, graph: Graph, target: Target) -> Plan:
    """A plan that was made for the same target, of a graph with the same key, with the weights' bytes of `graph`."""
    weights = weights_bytes(graph)
    more = weights - made.weights_bytes
    in_ram, in_flash = (more, 0) if target.weights_in_ram else (0, more)
    return replace(
        made,
        graph=graph.name,
        weights_bytes=weights,
        flash_bytes=made.flash_bytes + in_flash,
        peak_memory_bytes=made.peak_memory_bytes + in_ram,
    )


def _tensor(tensor: Tensor) -> tuple[str, tuple[int, ...], str, str | int, list[int | None] | None]:
    parameters = None if tensor.quantization is None else [tensor.quantization.scale.size, tensor.quantization.axis]
    stored: str | int
    if tensor.is_constant:
        stored = "packed" if tensor.bits < np.dtype(tensor.dtype).itemsize * 8 else "whole"
    else:
        stored = tensor.bits
    return tensor.name, tensor.shape, tensor.dtype, stored, parameters


def _operator(graph: Graph, index: int) -> dict[str, Any]:
    operator, storage, kernel = graph.operators[index], layer_storage(graph, index), kernel_of(graph, (index,))
    return {
        "kind": operator.kind,
        "name": operator.name,
        "inputs": operator.inputs,
        "outputs": operator.outputs,
        "attributes": operator.attributes,
        "format": storage.format,
        "requantization_bytes": storage.requantization_bytes,
        "kernel": [None if kernel is None else kernel.function, needs_unpacking(graph, index)],
        "same_grid": _same_quantization(graph, operator),
    }


def _same_quantization(graph: Graph, operator: Operator) -> list[bool] | None:
    """Whether each input of a concatenation has the output's quantization; None for any other operator."""
    if operator.kind != "CONCATENATION":
        return None
    output = graph.tensors[operator.outputs[0]]
    return [index != ABSENT and alike(graph.tensors[index], output) for index in operator.inputs]
