"""Run a network without a plan, operator by operator over whole tensors: the reference for every plan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph
from evaluation.graph.regions import extent
from evaluation.interpreter.dispatch import function_of
from evaluation.interpreter.patch import Patch, PatchCall, Values, whole


def run_whole(graph: Graph, frame: np.ndarray) -> Mapping[int, Values]:
    """Run a network operator by operator.

    Args:
        graph: the network, one input.
        frame: the input's values, its shape with or without the leading 1; see `as_input` for its type.

    Returns:
        Every activation by tensor index, of the tensor's own shape and dtype.

    Raises:
        UserError: an operator cannot be interpreted, or the frame does not fit the input.
    """
    values = {graph.inputs[0]: as_input(graph, frame)}
    for operator in graph.operators:
        patches = tuple(
            None
            if index == ABSENT or graph.tensors[index].is_constant
            else Patch(
                graph.tensors[index], whole(graph.tensors[index]), values[index].reshape(extent(graph.tensors[index]))
            )
            for index in operator.inputs
        )
        region = whole(graph.tensors[operator.outputs[0]])
        result = function_of((operator.kind,), operator.name)(PatchCall(graph, operator, patches, region))
        results = result if isinstance(result, tuple) else (result,)
        for index, computed in zip(operator.outputs, results, strict=True):
            output = graph.tensors[index]
            values[index] = computed.astype(output.dtype).reshape(output.shape)
    return values


def as_input(graph: Graph, frame: np.ndarray) -> Values:
    """The frame with the input tensor's shape and dtype.

    A uint8 frame of an int8 input is converted by subtracting 128; other types must be equal.

    Raises:
        UserError: the frame has another dtype or number of elements, or the network several inputs.
    """
    tensor = graph.tensors[_only_input(graph)]
    if frame.dtype == np.uint8 and tensor.dtype == "int8":
        frame = (frame ^ np.uint8(0x80)).view(np.int8)
    if frame.dtype != np.dtype(tensor.dtype) or frame.size != tensor.elements:
        raise UserError(
            f"the frame is {frame.dtype} {frame.shape}, but the input {tensor.name} of {graph.name} "
            f"takes {tensor.dtype} {tensor.shape}; bring the image to that size and type"
        )
    return frame.reshape(tensor.shape)


def _only_input(graph: Graph) -> int:
    if len(graph.inputs) != 1:
        raise UserError(f"{graph.name} has {len(graph.inputs)} inputs; the interpreter runs networks of one input")
    return graph.inputs[0]
