"""Pixels that are repeated by reshaping and tiling, as the one operator that they are: RESIZE_NEAREST_NEIGHBOR.

Keras 3 enlarges a map so (`UpSampling2D(interpolation="nearest")`, keras/src/backend/tensorflow/numpy.py: `repeat`): a
new axis behind the rows is tiled and merged with them, then the same for the columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from evaluation.graph import Graph, Operator, Tensor

_KINDS = ("RESHAPE", "TILE", "RESHAPE", "TILE", "RESHAPE")


def with_nearest_resizes(graph: Graph) -> Graph:
    """The graph with one RESIZE_NEAREST_NEIGHBOR for each chain of operators that repeats rows and columns."""
    tensors, operators = list(graph.tensors), list(graph.operators)
    for chain in list(_chains(graph)):
        first, last = chain[0], chain[-1]
        _, rows, columns, _ = graph.tensors[last.outputs[0]].shape
        size = Tensor(
            f"{last.name}/size", (2,), "int32", 32, is_constant=True, data=np.array([rows, columns], np.int32)
        )
        tensors.append(size)
        # Without centres of pixels, positions are i * (1 / n) in float32, which may fall below a whole number.
        attributes = {"align_corners": False, "half_pixel_centers": True}
        inputs = first.inputs[0], len(tensors) - 1
        resize = Operator("RESIZE_NEAREST_NEIGHBOR", last.name, inputs, last.outputs, attributes)
        operators = [resize if operator is last else operator for operator in operators if operator not in chain[:-1]]
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _chains(graph: Graph) -> Iterator[tuple[Operator, ...]]:
    readers: dict[int, list[Operator]] = {}
    for operator in graph.operators:
        for index in operator.inputs:
            readers.setdefault(index, []).append(operator)
    for operator in graph.operators:
        chain = [operator]
        while len(chain) < len(_KINDS) and chain[-1].kind == _KINDS[len(chain) - 1]:
            output = chain[-1].outputs[0]
            if output in graph.outputs or len(readers.get(output, ())) != 1:
                break
            chain.append(readers[output][0])
        if tuple(operator.kind for operator in chain) == _KINDS and _repeats(graph, chain):
            yield tuple(chain)


def _repeats(graph: Graph, chain: list[Operator]) -> bool:
    """Whether the shapes are those of rows and columns that are repeated, each by a whole number."""
    given, *shapes = (graph.tensors[index].shape for index in (chain[0].inputs[0], *(op.outputs[0] for op in chain)))
    if len(given) != 4 or len(shapes[-1]) != 4:
        return False
    (_, rows, columns, channels), (_, new_rows, new_columns, _) = given, shapes[-1]
    return shapes == [
        (1, rows, 1, columns, channels),
        (1, rows, new_rows // rows, columns, channels),
        (1, new_rows, columns, 1, channels),
        (1, new_rows, columns, new_columns // columns, channels),
        (1, new_rows, new_columns, channels),
    ]
