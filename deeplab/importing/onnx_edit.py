"""`GraphEdit`: a file graph whose operators are replaced and removed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from evaluation.graph import ABSENT, Graph, Operator, Tensor

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
TOLERANCE = 1e-5
"""Of numbers such as 1 / 6, which files round."""


class GraphEdit:
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
            if data is not None and data.size == 1 and abs(float(data.reshape(())) - value) <= TOLERANCE * abs(value):
                return operator.inputs[place]
        return None

    def added(self, tensor: Tensor, values: np.ndarray) -> int:
        """Append a constant like another, with other values, as float32."""
        self.tensors.append(replace(tensor, data=np.ascontiguousarray(values, np.float32)))
        return len(self.tensors) - 1

    def finished(self) -> Graph:
        kept = tuple(own for own in self.operators if own is not None)
        return replace(self.graph, tensors=tuple(self.tensors), operators=kept)


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
