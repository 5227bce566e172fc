"""The same network for frames of another size, at another output stride, or for other classes.

It is fully convolutional, so all weights stay but those of other classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.network import (
    BINARY,
    CONVOLUTIONS,
    POOLS,
    RESIZES,
    classifiers,
    constant_operands,
    groups,
    input_size,
    is_depthwise,
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
    backbone strides natively is its stride, or the step in dilation from it to the next one. A 1x1 shortcut strides as
    what it is added to.

    Raises:
        UserError: a pool would have to be dilated.
    """
    enlarged: set[int] = set()
    spatial = []
    for operator, stage in zip(graph.operators, stages(graph), strict=True):
        if operator.kind in RESIZES or not enlarged.isdisjoint(operator.inputs):
            enlarged.update(operator.outputs)
        elif stage == "backbone" and _is_spatial(graph, operator):
            spatial.append(operator)
    dilations = [operator.attributes.get("dilation", (1, 1))[0] for operator in spatial]
    after = [*dilations[1:], dilations[-1]] if dilations else []
    changed: dict[str, dict[str, Any]] = {}
    stride = dilation = before = 1
    for operator, own, later in zip(spatial, dilations, after, strict=True):
        native = operator.attributes["stride"][0] * later // own
        before *= operator.attributes["stride"][0]
        strides = stride * native <= output_stride
        step = native if strides else 1
        if operator.kind in POOLS:
            if dilation > 1 or not strides:
                raise UserError(
                    f"output stride {output_stride}: the pool {operator.name!r} would have to be dilated; the least "
                    f"here is {stride * dilation * native}"
                )
            changed[operator.name] = {"stride": (step, step)}
        else:
            changed[operator.name] = {"stride": (step, step), **_dilated(operator, dilation)}
        if strides:
            stride *= native
        else:
            dilation *= native
    changed |= _shortcuts(graph, changed)
    for operator, stage in zip(graph.operators, stages(graph), strict=True):
        if stage == "aspp" and operator.kind in CONVOLUTIONS and window(graph, operator) != (1, 1):
            rate = operator.attributes["dilation"][0] * before // stride
            changed[operator.name] = _dilated(operator, rate)
    operators = [
        replace(operator, attributes={**operator.attributes, **changed.get(operator.name, {})})
        for operator in graph.operators
    ]
    return _with_shapes(graph, operators, input_size(graph))


def _is_spatial(graph: Graph, operator: Operator) -> bool:
    """Whether an operator reads more than a pixel for each of its own, and not the whole map."""
    if operator.kind in POOLS:
        return not is_global_pool(graph, operator)
    return operator.kind in CONVOLUTIONS and window(graph, operator) != (1, 1)


def _shortcuts(graph: Graph, changed: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Strides of the 1x1 convolutions of a map that are joined with what else is computed of it, at changed strides."""
    written = {operator.outputs[0]: operator for operator in graph.operators}
    spacing = dict.fromkeys(graph.inputs, 1)
    """Pixels of the frame from one of a map to the next; of neither resized nor pooled maps."""
    ancestors: dict[int, set[int]] = {index: set() for index in graph.inputs}
    found: dict[str, dict[str, Any]] = {}
    for operator in graph.operators:
        read = [index for index in operator.inputs if index in spacing]
        ancestors[operator.outputs[0]] = {*read, *(one for index in read for one in ancestors[index])}
        if operator.kind in RESIZES or is_global_pool(graph, operator) or not read:
            continue
        if operator.kind in BINARY and len(read) == 2:
            for index, other in (read, read[::-1]):
                source = written[index]
                is_pointwise = source.kind == "CONV_2D" and window(graph, source) == (1, 1)
                if is_pointwise and source.inputs[0] in ancestors[other]:
                    step = source.attributes["stride"][0] * spacing[other] // spacing[index]
                    found[source.name] = {"stride": (step, step)}
                    spacing[index] = spacing[other]
        attributes = {**operator.attributes, **changed.get(operator.name, {})}
        spacing[operator.outputs[0]] = spacing[read[0]] * attributes.get("stride", (1, 1))[0]
    return found


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
    """The network with another number of classes; the convolutions of its classes have no values then.

    Raises:
        UserError: the classes are computed by more than convolutions and what follows each channel of theirs.
    """
    tensors: dict[int, Tensor] = {}
    ends = classifiers(graph)
    for operator in ends:
        for index in operator.inputs[1:3]:
            own = graph.tensors[index]
            tensors[index] = replace(own, shape=(classes, *own.shape[1:]), data=None)
        tensors[operator.outputs[0]] = _of_channels(graph, operator.outputs[0], classes)
    for operator in graph.operators:
        (result,) = operator.outputs
        if operator in ends or tensors.keys().isdisjoint(operator.inputs) or result in graph.outputs:
            continue
        values = max(
            (graph.tensors[operator.inputs[at]].elements for at in constant_operands(graph, operator)), default=1
        )
        if operator.kind in (*CONVOLUTIONS, "CONCATENATION", "STRIDED_SLICE") or values > 1:
            raise UserError(
                f"the network's operator {operator.name!r} ({operator.kind}) has a place for each of its classes: "
                "their number cannot be changed"
            )
        tensors[result] = _of_channels(graph, result, classes)
    if any(is_depthwise(operator) or groups(graph, operator) > 1 for operator in ends):
        raise UserError("the network's classes are written by a convolution in groups: their number cannot be changed")
    return with_tensors(graph, tensors)


def _of_channels(graph: Graph, index: int, channels: int) -> Tensor:
    tensor = graph.tensors[index]
    return replace(tensor, shape=(*tensor.shape[:3], channels))
