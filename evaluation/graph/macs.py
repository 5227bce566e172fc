"""Multiply-accumulate operations, the planner's measure of time.

Counted: convolutions (also transposed and in 3-D), depthwise convolutions, fully connected layers and matrix products,
at one multiplication and addition per weight and output position, padded positions included. Everything else (adds,
pools, resizes) counts nothing, as in the MobileNet papers (Howard et al., 2017, section 4).
"""

from __future__ import annotations

import math

from evaluation.graph.types import Graph, Operator


def operator_macs(graph: Graph, operator: Operator) -> int:
    """MACs of one run of `operator` over its whole output."""
    output = graph.tensors[operator.outputs[0]]
    if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        weights = graph.tensors[operator.inputs[1]].shape
        # CONV_2D weights are (out, kh, kw, in), depthwise ones (1, kh, kw, out).
        per_output = math.prod(weights[1:]) if operator.kind == "CONV_2D" else weights[1] * weights[2]
        return output.elements * per_output
    if operator.kind == "FULLY_CONNECTED":
        return output.elements * graph.tensors[operator.inputs[1]].shape[-1]
    if operator.kind == "TRANSPOSE_CONV":
        weights, source = graph.tensors[operator.inputs[1]].shape, graph.tensors[operator.inputs[2]]
        return source.elements * math.prod(weights[:3])
    if operator.kind == "CONV_3D":  # weights (kd, kh, kw, in, out)
        return output.elements * math.prod(graph.tensors[operator.inputs[1]].shape[:4])
    if operator.kind == "BATCH_MATMUL":
        left = graph.tensors[operator.inputs[0]].shape
        return output.elements * (left[-2] if operator.attributes.get("adj_x", False) else left[-1])
    return 0


def graph_macs(graph: Graph) -> int:
    """MACs of one run of the whole network."""
    return sum(operator_macs(graph, operator) for operator in graph.operators)
