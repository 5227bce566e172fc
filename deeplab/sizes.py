"""The same network for frames of another size, at another output stride, or for other classes.

It is fully convolutional, so all weights stay but those of other classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deeplab.network import CONVOLUTIONS, convolutions, input_size, window, with_tensors
from deeplab.stages import stages
from evaluation.graph import Graph, Operator, Tensor
from evaluation.graph.shape_rules import window_outputs


def with_input_size(graph: Graph, height: int, width: int) -> Graph:
    """The network for frames of another size."""
    if (height, width) == input_size(graph):
        return graph
    return _with_shapes(graph, graph.operators, (height, width))


def _with_shapes(graph: Graph, operators: Sequence[Operator], frame_size: tuple[int, int]) -> Graph:
    """The graph with other attributes of its operators, and the shapes that they compute for frames of some size.

    A resize goes to the size that the first activation of its former target's size has now, so that it still meets what
    it is concatenated with; a global pool stays global.
    """
    tensors: dict[int, Tensor] = {}
    sizes: dict[tuple[int, ...], tuple[int, int]] = {}

    def put(index: int, size: tuple[int, int]) -> None:
        shape = graph.tensors[index].shape
        sizes.setdefault(shape[1:3], size)
        tensors[index] = replace(graph.tensors[index], shape=(1, *size, *shape[3:]))

    put(graph.inputs[0], frame_size)
    changed = []
    for operator in operators:
        (result,) = operator.outputs
        _, rows, columns, *_ = tensors[operator.inputs[0]].shape
        after = rows, columns
        if operator.kind == "RESIZE_BILINEAR":
            after = sizes[graph.tensors[result].shape[1:3]]
            target = operator.inputs[1]
            tensors[target] = replace(graph.tensors[target], data=np.array(after, np.int32))
        elif operator.kind == "AVERAGE_POOL_2D":
            operator, after = replace(operator, attributes={**operator.attributes, "filter": after}), (1, 1)
        elif operator.kind in CONVOLUTIONS:
            after = _outputs(graph, operator, after)
        put(result, after)
        changed.append(operator)
    return replace(with_tensors(graph, tensors), operators=tuple(changed))


def _outputs(graph: Graph, operator: Operator, size: tuple[int, int]) -> tuple[int, int]:
    attributes = operator.attributes
    rows, columns = (
        window_outputs(one, taps, stride, dilation, attributes["padding"])
        for one, taps, stride, dilation in zip(
            size, window(graph, operator), attributes["stride"], attributes["dilation"], strict=True
        )
    )
    return rows, columns


def with_output_stride(graph: Graph, output_stride: int) -> Graph:
    """The same weights at another output stride: strides past it become dilations (Chen et al. 2017, section 3.1).

    The atrous rates of the ASPP grow as the grid gets finer, so that they reach as far. What a convolution of the
    backbone strides natively is its stride, or the step in dilation from it to the next one.
    """
    spatial = [
        operator
        for operator, stage in zip(graph.operators, stages(graph), strict=True)
        if stage == "backbone" and operator.kind in CONVOLUTIONS and window(graph, operator) != (1, 1)
    ]
    dilations = [operator.attributes["dilation"][0] for operator in spatial]
    after = [*dilations[1:], dilations[-1]]
    changed: dict[str, dict[str, Any]] = {}
    stride = dilation = before = 1
    for operator, own, later in zip(spatial, dilations, after, strict=True):
        native = operator.attributes["stride"][0] * later // own
        before *= operator.attributes["stride"][0]
        strides = stride * native <= output_stride
        step = native if strides else 1
        changed[operator.name] = {"stride": (step, step), "dilation": (dilation, dilation)}
        if strides:
            stride *= native
        else:
            dilation *= native
    for operator, stage in zip(graph.operators, stages(graph), strict=True):
        if stage == "aspp" and operator.kind in CONVOLUTIONS and window(graph, operator) != (1, 1):
            rate = operator.attributes["dilation"][0] * before // stride
            changed[operator.name] = {"dilation": (rate, rate)}
    operators = [
        replace(operator, attributes={**operator.attributes, **changed.get(operator.name, {})})
        for operator in graph.operators
    ]
    return _with_shapes(graph, operators, input_size(graph))


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
