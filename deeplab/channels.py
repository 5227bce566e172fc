"""Which channels of a network's activations are the same channel, by propagation through its graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deeplab.network import BINARY, POOLS, RESIZES, UNARY, constant_operands, groups
from evaluation.graph import Graph, Operator

MOVES_CHANNELS = (*POOLS, *RESIZES, "PAD", "STRIDED_SLICE")
"""Operators that compute each channel from values of the same one, whatever it is multiplied by."""


def channel_numbers(graph: Graph, *, removed: bool) -> dict[int, np.ndarray]:
    """By activation, a number for each of its channels, int (channels,). Equal numbers are channels that an operator
    only moves, or that are added or multiplied together.

    Args:
        graph: the network.
        removed: whether channels are removed, so that one stays the same through a depthwise convolution, an activation
            function and a constant for each channel; it does not where channels are scaled.
    """
    numbers: dict[int, np.ndarray] = {}
    same = np.empty(0, np.int64)
    """By number, the least one that stands for the same channel."""
    for operator in graph.operators:
        (output,) = operator.outputs
        if output in graph.outputs:
            continue
        read = [index for index in operator.inputs if index in numbers]
        follows, is_dense = is_followed(graph, operator, removed=removed), operator.kind == "CONV_2D"
        if operator.kind == "CONCATENATION" and follows:
            numbers[output] = np.concatenate([numbers[index] for index in read])
        elif operator.kind in BINARY and len(read) == 2 and follows:
            first, second = (numbers[index] for index in read)
            for pair in zip(first.tolist(), second.tolist(), strict=True):
                low, high = sorted(same[list(pair)].tolist())
                same[same == high] = low
            numbers[output] = first
        elif len(read) == 1 and follows and (removed or operator.kind != "DEPTHWISE_CONV_2D") and not is_dense:
            numbers[output] = numbers[read[0]]
        else:
            numbers[output] = np.arange(same.size, same.size + graph.tensors[output].shape[-1])
            same = np.concatenate([same, numbers[output]])
    return {index: same[own] for index, own in numbers.items()}


def is_followed(graph: Graph, operator: Operator, *, removed: bool) -> bool:
    """Whether what an operator does with channels is known here; `removed` as in `channel_numbers`."""
    channels = [graph.tensors[index].shape[-1:] for index in operator.inputs if not graph.tensors[index].is_constant]
    written, kind = graph.tensors[operator.outputs[0]].shape, operator.kind
    if kind == "CONCATENATION":
        return len(channels) == len(operator.inputs) and operator.attributes["axis"] in (-1, len(written) - 1)
    if kind == "CONV_2D":
        return groups(graph, operator) == 1
    if kind in BINARY:
        return channels == [written[-1:]] * len(channels) and (removed or not constant_operands(graph, operator))
    if kind in MOVES_CHANNELS or kind == "DEPTHWISE_CONV_2D":
        return channels == [written[-1:]]
    return kind == "ARG_MAX" or (removed and kind in UNARY)


def unfollowed(graph: Graph, numbers: Mapping[int, np.ndarray], *, removed: bool) -> set[int]:
    """Numbers of the channels that other operators read or write: these must stay as they are."""
    tensors = {
        index
        for operator in graph.operators
        if not is_followed(graph, operator, removed=removed)
        for index in (*operator.inputs, *operator.outputs)
        if index in numbers
    }
    return {number for index in tensors for number in numbers[index].tolist()}
