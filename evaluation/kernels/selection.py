"""Selection of the kernel of a call by its operators, types and weight format.

The planner counts the scratch, descriptor and stack of the kernel selected here; the emitter writes a call of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evaluation.graph import ABSENT, Graph, Operator
from evaluation.graph.geometry import window_size
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.registry import KERNELS, REGISTRY, Kinds
from evaluation.kernels.signature import CallSignature
from evaluation.kernels.weights import kernel_rows, needs_unpacking, weights_of

Operators = Sequence[int]
"""Indices of the operators of a call, several if fused."""


def kernel_of(graph: Graph, operators: Operators) -> Kernel | None:
    """The kernel of a call, None where the C program has none for its operators or their types."""
    entry = REGISTRY.get(kinds_of(graph, operators))
    if entry is None:
        return None
    signature = signature_of(graph, operators)
    return next((choice.kernel for choice in entry.choices if choice.takes(signature)), None)


def kinds_of(graph: Graph, operators: Operators) -> Kinds:
    """TFLite names of the operators of a call."""
    return tuple(graph.operators[index].kind for index in operators)


def signature_of(graph: Graph, operators: Operators) -> CallSignature:
    """The properties of a call by which its kernel is selected."""
    first, last = graph.operators[operators[0]], graph.operators[operators[-1]]
    return CallSignature(
        operators=tuple(graph.operators[index] for index in operators),
        inputs=tuple(None if index == ABSENT else graph.tensors[index] for index in first.inputs),
        output=graph.tensors[last.outputs[0]],
        is_packed=needs_unpacking(graph, operators[0]),
        sums_image=is_global_reduction(graph, first),
    )


def is_global_reduction(graph: Graph, operator: Operator) -> bool:
    """Whether the operator sums over all rows and columns of an image, channel by channel."""
    source = graph.tensors[operator.inputs[0]]
    if len(source.shape) != 4 or source.is_constant:
        return False
    if operator.kind == "AVERAGE_POOL_2D":
        return window_size(graph, operator) == source.shape[1:3] and graph.tensors[operator.outputs[0]].shape[1:3] == (
            1,
            1,
        )
    return operator.kind in ("MEAN", "SUM") and sorted(operator.attributes["axes"]) == [1, 2]


def descriptor_bytes(graph: Graph, operators: Operators) -> int:
    """Bytes of a call's constants other than weights: its kernel's descriptor, and the arrays it points to.

    A call without a kernel, which cannot be exported, counts as the largest descriptor.
    """
    kernel = kernel_of(graph, operators)
    if kernel is None:
        return max(one.descriptor.size_bytes for one in KERNELS)
    return kernel.descriptor.size_bytes + kernel.array_bytes(signature_of(graph, operators))


def unpacked_shape(graph: Graph, index: int) -> tuple[int, int]:
    """(rows, values of each) of an operator's weights that are in scratch at a time, a row being the kernel of one
    output channel; (0, 0) where the weights are read in place."""
    weights = weights_of(graph, graph.operators[index])
    if weights is None or not needs_unpacking(graph, index):
        return 0, 0
    rows, length = kernel_rows(weights, graph.operators[index].kind)
    kernel = kernel_of(graph, (index,))
    return (1, length) if kernel is None else kernel.unpacked_shape(rows, length)


def unpacked_bytes(graph: Graph, index: int) -> int:
    """Bytes of scratch for `unpacked_shape`."""
    rows, values = unpacked_shape(graph, index)
    weights = weights_of(graph, graph.operators[index])
    return 0 if weights is None else rows * values * np.dtype(weights.dtype).itemsize
