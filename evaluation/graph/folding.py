"""Fold constants that a file stores as float16 and widens at run time.

Converters keep float16 weights as constants followed by DEQUANTIZE operators. Planned so, every weight would also be an
activation in the arena. They become float32 constants that take 16 bits each where they are stored, so the accounting
counts the bytes of the file; no activation remains of them.
"""

from __future__ import annotations

from dataclasses import replace

from evaluation.graph.types import Graph


def fold_dequantized_constants(graph: Graph) -> Graph:
    """The same graph with each DEQUANTIZE of a float16 constant replaced by a float32 constant (stored in 16 bits)."""
    tensors = list(graph.tensors)
    operators = []
    for operator in graph.operators:
        source = tensors[operator.inputs[0]] if operator.inputs else None
        if operator.kind != "DEQUANTIZE" or source is None or not source.is_constant or source.dtype != "float16":
            operators.append(operator)
            continue
        target = tensors[operator.outputs[0]]
        data = None if source.data is None else source.data.astype("float32")
        tensors[operator.outputs[0]] = replace(target, bits=16, is_constant=True, data=data)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))
