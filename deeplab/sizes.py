"""The same network for frames of another size, at another output stride, or for other classes.

It is fully convolutional, so all weights stay but those of other classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.network import (
    BINARY,
    CONVOLUTIONS,
    POOLS,
    RESIZES,
    convolutions,
    input_size,
    is_global_pool,
    window,
    with_tensors,
)
from deeplab.stages import stages
from evaluation.errors import UserError
from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.geometry import window_size
from evaluation.graph.padding import padding_along
from evaluation.graph.shape_rules import window_outputs

WINDOWED = (*CONVOLUTIONS, *POOLS)


def with_input_size(graph: Graph, height: int, width: int) -> Graph:
    """The network for frames of another size."""
    if (height, width) == input_size(graph):
        return graph
    return _with_shapes(graph, graph.operators, (height, width))


def _with_shapes(graph: Graph, operators: Sequence[Operator], frame_size: tuple[int, int]) -> Graph:
    """The graph with other attributes of its operators, and the shapes that they compute for frames of some size.

    A resize goes to the size that what it is joined with has now, or the frame; a global pool stays global.
    """
    sizes = _Sizes(graph, operators, frame_size)
    tensors: dict[int, Tensor] = {}
    for index in (*graph.inputs, *(operator.outputs[0] for operator in operators)):
        shape = graph.tensors[index].shape
        tensors[index] = replace(graph.tensors[index], shape=(1, *sizes.of(index), *shape[3:]))
    changed = []
    for operator in operators:
        if operator.kind in RESIZES:
            target = np.array(sizes.of(operator.outputs[0]), np.int32)
            tensors[operator.inputs[1]] = replace(graph.tensors[operator.inputs[1]], data=target)
        elif is_global_pool(graph, operator):
            operator = replace(operator, attributes={**operator.attributes, "filter": sizes.of(operator.inputs[0])})
        elif operator.kind == "STRIDED_SLICE":
            rows, columns = sizes.of(operator.outputs[0])
            _, top, left, _ = operator.attributes["begin"]
            end = (1, top + rows, left + columns, operator.attributes["end"][3])
            operator = replace(operator, attributes={**operator.attributes, "end": end})
            tensors[operator.inputs[2]] = replace(graph.tensors[operator.inputs[2]], data=np.array(end, np.int32))
        changed.append(operator)
    return replace(with_tensors(graph, tensors), operators=tuple(changed))


class _Sizes:
    """Heights and widths of the activations of a graph whose operators' attributes changed, or its frame's size."""

    def __init__(self, graph: Graph, operators: Sequence[Operator], frame_size: tuple[int, int]) -> None:
        self._graph = graph
        self._written = {operator.outputs[0]: operator for operator in operators}
        self._found = {graph.inputs[0]: frame_size}

    def of(self, tensor: int) -> tuple[int, int]:
        size = self._solved(tensor, frozenset())
        if size is None:
            raise UserError(
                f"the network's resize {self._graph.tensors[tensor].name!r} goes to {self._size_before(tensor)}, which "
                "nothing else has: it can run on frames of its own size only"
            )
        return size

    def _solved(self, tensor: int, asked: frozenset[int]) -> tuple[int, int] | None:
        """The size of an activation; None if it depends on those of resizes that are asked for already."""
        if tensor in self._found:
            return self._found[tensor]
        if tensor in asked:
            return None
        operator = self._written[tensor]
        size: tuple[int, int] | None
        if is_global_pool(self._graph, operator):
            size = (1, 1)
        else:
            sources = [index for index in operator.inputs if index in self._found or index in self._written]
            if operator.kind in RESIZES:
                sources = self._met(tensor)
            if operator.kind in BINARY:  # of two operands, the one that is no single pixel
                sources.sort(key=lambda source: self._size_before(source) == (1, 1))
            solved = (self._solved(source, asked | {tensor}) for source in sources)
            size = next((one for one in solved if one is not None), None)
            if size is not None:
                size = self._written_from(operator, size)
        if size is not None:
            self._found[tensor] = size
        return size

    def _written_from(self, operator: Operator, size: tuple[int, int]) -> tuple[int, int]:
        """The size of what an operator writes of an activation of some size."""
        if operator.kind in WINDOWED:
            return _outputs(self._graph, operator, size)
        if operator.kind == "PAD":
            (above, below), (left, right) = operator.attributes["paddings"][1:3]
            return size[0] + above + below, size[1] + left + right
        if operator.kind == "STRIDED_SLICE":
            before = self._size_before(operator.inputs[0])
            cut = [one - other for one, other in zip(before, self._size_before(operator.outputs[0]), strict=True)]
            return size[0] - cut[0], size[1] - cut[1]
        return size

    def _met(self, resized: int) -> list[int]:
        """Activations that an operator joins with what a resize gives; if none, those of its size."""
        size, made = self._size_before(resized), {resized}
        found: list[int] = []
        for operator in self._graph.operators:
            (result,) = operator.outputs
            if made.isdisjoint(operator.inputs) or self._size_before(result) != size:
                continue
            found += [
                index
                for index in operator.inputs
                if index in self._written and index not in made and self._size_before(index) == size
            ]
            if operator.kind not in RESIZES:
                made.add(result)
        if made & set(self._graph.outputs):
            found += self._graph.inputs
        return found or [index for index in self._written if index not in made and self._size_before(index) == size]

    def _size_before(self, tensor: int) -> tuple[int, ...]:
        return self._graph.tensors[tensor].shape[1:3]


def _outputs(graph: Graph, operator: Operator, size: tuple[int, int]) -> tuple[int, int]:
    attributes = operator.attributes
    dilation = attributes.get("dilation", (1, 1))
    rows, columns = (
        window_outputs(size[axis], taps, attributes["stride"][axis], dilation[axis], padding)
        for axis, taps in enumerate(window_size(graph, operator))
        for padding in [padding_along(attributes, axis)]
    )
    return rows, columns


def with_output_stride(graph: Graph, output_stride: int) -> Graph:
    """The same weights at another output stride: strides past it become dilations (Chen et al. 2017, section 3.1).

    The atrous rates of the ASPP grow as the grid gets finer, so that they reach as far. What a convolution of the
    backbone strides natively is its stride, or the step in dilation from it to the next one.
    """
    enlarged: set[int] = set()
    spatial = []
    for operator, stage in zip(graph.operators, stages(graph), strict=True):
        if operator.kind in RESIZES or not enlarged.isdisjoint(operator.inputs):
            enlarged.update(operator.outputs)
        elif stage == "backbone" and operator.kind in CONVOLUTIONS and window(graph, operator) != (1, 1):
            spatial.append(operator)
    dilations = [operator.attributes["dilation"][0] for operator in spatial]
    after = [*dilations[1:], dilations[-1]]
    changed: dict[str, dict[str, Any]] = {}
    stride = dilation = before = 1
    for operator, own, later in zip(spatial, dilations, after, strict=True):
        native = operator.attributes["stride"][0] * later // own
        before *= operator.attributes["stride"][0]
        strides = stride * native <= output_stride
        step = native if strides else 1
        changed[operator.name] = {"stride": (step, step), **_dilated(operator, dilation)}
        if strides:
            stride *= native
        else:
            dilation *= native
    for operator, stage in zip(graph.operators, stages(graph), strict=True):
        if stage == "aspp" and operator.kind in CONVOLUTIONS and window(graph, operator) != (1, 1):
            rate = operator.attributes["dilation"][0] * before // stride
            changed[operator.name] = _dilated(operator, rate)
    operators = [
        replace(operator, attributes={**operator.attributes, **changed.get(operator.name, {})})
        for operator in graph.operators
    ]
    return _with_shapes(graph, operators, input_size(graph))


def _dilated(operator: Operator, dilation: int) -> dict[str, Any]:
    """Attributes of a convolution at another dilation, with explicit padding that reaches as far beyond an edge."""
    found: dict[str, Any] = {"dilation": (dilation, dilation)}
    if operator.attributes["padding"] == "EXPLICIT":
        own = operator.attributes["dilation"]
        found["pads"] = tuple(
            tuple(side * dilation // old for side in sides)
            for sides, old in zip(operator.attributes["pads"], own, strict=True)
        )
    return found


def with_classes(graph: Graph, classes: int) -> Graph:
    """The network with another number of classes; its last convolution has no values then."""
    last = convolutions(graph)[-1]
    kernel, bias = (graph.tensors[index] for index in last.inputs[1:3])
    tensors = {
        last.inputs[1]: replace(kernel, shape=(classes, *kernel.shape[1:]), data=None),
        last.inputs[2]: replace(bias, shape=(classes,), data=None),
    }
    for operator in graph.operators[graph.operators.index(last) :]:
        (result,) = operator.outputs
        if result not in graph.outputs:
            shape = graph.tensors[result].shape
            tensors[result] = replace(graph.tensors[result], shape=(*shape[:3], classes))
    return with_tensors(graph, tensors)
