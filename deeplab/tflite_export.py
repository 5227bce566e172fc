"""A network for other runtimes: values that the `.tflite` format cannot hold are converted, or refused.

The camera's frame goes in as uint8 and labels come out as int32, the narrowest type that ARG_MAX gives. A float network
takes its images as float32 in [-1, 1] instead, since its zero is between two values of a uint8 frame. With 16-bit
activations the frame passes through int8, and the logits become float32 for ARG_MAX, which takes no int16; both are
exact.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Quantization, Tensor, write_tflite

TFLITE_FILE = "network.tflite"
CARRIED_ACTIVATION_BITS = (8, 16, 32)


def to_tflite(graph: Graph) -> bytes:
    """A network, float or integer, as a `.tflite` file, which computes the same labels.

    Raises:
        UserError: the format cannot carry it: activations of fewer than 8 bits, or 16-bit weights.
    """
    return write_tflite(portable(graph))


def portable(graph: Graph) -> Graph:
    """The graph with a frame and labels of types that TFLite's kernels take; all between is left as it is."""
    _check(graph)
    graph = _with_one_zero(graph)
    tensors, operators = list(graph.tensors), list(graph.operators)
    (frame,), (labels,) = graph.inputs, graph.outputs
    tensors[labels] = replace(tensors[labels], dtype="int32", bits=32)
    entry = next(index for index, operator in enumerate(operators) if operator.inputs[0] == frame)
    first = operators[entry].outputs[0]
    if operators[entry].kind == "DEQUANTIZE":
        del operators[entry]
        return _without(frame, Graph(graph.name, tuple(tensors), tuple(operators), (first,), graph.outputs))
    if tensors[first].dtype == "int16":
        parameters = tensors[frame].quantization
        if parameters is None:
            raise ValueError(f"{tensors[frame].name}: a frame that becomes int16 must be quantized itself")
        codes = Quantization(parameters.scale, parameters.zero_point - 128)
        tensors.append(Tensor("frame/int8", tensors[frame].shape, "int8", 8, codes))
        middle = len(tensors) - 1
        operators[entry : entry + 1] = [
            Operator("QUANTIZE", "frame/int8", (frame,), (middle,)),
            replace(operators[entry], inputs=(middle,)),
        ]
        last = operators[-1]
        tensors.append(Tensor("logits/float", tensors[last.inputs[0]].shape, "float32", 32))
        logits = len(tensors) - 1
        operators[-1:] = [
            Operator("DEQUANTIZE", "logits/float", last.inputs[:1], (logits,)),
            replace(last, inputs=(logits, *last.inputs[1:])),
        ]
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _with_one_zero(graph: Graph) -> Graph:
    """An integer network whose input has one zero point for all channels, which is all that TFLite's kernels take: that
    between those of the channels. What it differs by is folded into the biases of the convolutions that read it, so
    that labels are the same but for what padding does at the edges."""
    (frame,) = graph.inputs
    entry = next(operator.outputs[0] for operator in graph.operators if operator.inputs[0] == frame)
    own = graph.tensors[entry].quantization
    if own is None or own.axis is None:
        return graph
    zero = int(np.rint(own.zero_point.mean()))
    tensors = list(graph.tensors)
    for index, offset in ((frame, 128), (entry, 0)):
        one = Quantization(own.scale[:1], np.array([zero + offset], np.int64))
        tensors[index] = replace(tensors[index], quantization=one)
    for operator in graph.operators:
        if entry in operator.inputs:
            kernel, bias = (tensors[index] for index in operator.inputs[1:3])
            moved = (kernel.required_data.astype(np.int64) * (zero - own.zero_point)).sum(axis=(1, 2, 3))
            data = (bias.required_data + moved).astype(bias.dtype)
            tensors[operator.inputs[2]] = replace(bias, data=data)
    return replace(graph, tensors=tuple(tensors))


def _check(graph: Graph) -> None:
    for operator in graph.operators:
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and graph.tensors[operator.inputs[1]].dtype == "int16":
            raise UserError(
                f"{operator.name}: .tflite has no convolution with 16-bit weights; take at most 8 bits, or float"
            )
        for index in operator.outputs:
            bits = graph.tensors[index].bits
            if bits not in CARRIED_ACTIVATION_BITS:
                raise UserError(
                    f"{operator.name}: .tflite has no {bits}-bit activations, only 8 and 16 bits and float: its "
                    "kernels would not keep the values within their range"
                )


def _without(unused: int, graph: Graph) -> Graph:
    """The graph less a tensor that nothing uses."""

    def moved(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(index - (index > unused) if index != ABSENT else ABSENT for index in indices)

    operators = (
        replace(operator, inputs=moved(operator.inputs), outputs=moved(operator.outputs))
        for operator in graph.operators
    )
    tensors = graph.tensors[:unused] + graph.tensors[unused + 1 :]
    return Graph(graph.name, tensors, tuple(operators), moved(graph.inputs), moved(graph.outputs))
