"""Simplifications of a file graph: constants and activation functions that a convolution takes over, HARD_SWISH.

A graph is changed only where nothing else reads what goes away. A tensor with quantization parameters stays, since the
file states a value at that place.
"""

from __future__ import annotations

from dataclasses import replace

from deeplab.importing.onnx_activations import with_activations_fused, with_clamps_joined, with_hard_swish
from deeplab.importing.onnx_affine import with_affine_folded, with_orders_folded
from deeplab.importing.onnx_edit import GraphEdit, without_unused
from evaluation.graph import Graph
from evaluation.graph.input_counts import ANY


def simplified(graph: Graph) -> Graph:
    """The graph with batch normalizations and channel orders folded, activation functions fused, HARD_SWISH found, and
    without operators that nothing needs."""
    steps = (
        with_clamps_joined,
        with_hard_swish,
        with_affine_folded,
        with_orders_folded,
        with_activations_fused,
        with_reshapes_joined,
    )
    for step in steps:
        graph = step(graph)
    return graph


def with_reshapes_joined(graph: Graph) -> Graph:
    """A RESHAPE of a RESHAPE reads what that one reads; one to the shape that is there already is passed over."""
    edit, same = GraphEdit(graph), dict[int, int]()
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
