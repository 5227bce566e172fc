"""Which channels of a network's activations are the same channel, by propagation through its graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evaluation.graph import Graph, Operator

ELEMENTWISE = ("ADD", "SUB", "MUL")
"""Operators of two activations whose channels belong together, one to one."""
PASSES_CHANNELS = ("AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
"""Operators that compute each channel from the same one of their input."""


def channel_numbers(graph: Graph, *, through_depthwise: bool) -> dict[int, np.ndarray]:
    """By activation, a number for each of its channels, int (channels,). Equal numbers are channels that an operator
    only moves, or that are added or multiplied together.

    Args:
        graph: the network.
        through_depthwise: whether a channel stays the same one through a depthwise convolution: it does where channels
            are removed, and not where they are scaled.
    """
    numbers: dict[int, np.ndarray] = {}
    same = np.empty(0, np.int64)
    """By number, the least one that stands for the same channel."""
    for operator in graph.operators:
        (output,) = operator.outputs
        if output in graph.outputs:
            continue
        read = [index for index in operator.inputs if index in numbers]
        passes = operator.kind in PASSES_CHANNELS or (operator.kind == "DEPTHWISE_CONV_2D" and through_depthwise)
        if operator.kind == "CONCATENATION" and is_followed(graph, operator):
            numbers[output] = np.concatenate([numbers[index] for index in read])
        elif operator.kind in ELEMENTWISE and is_followed(graph, operator):
            first, second = (numbers[index] for index in read)
            for pair in zip(first.tolist(), second.tolist(), strict=True):
                low, high = sorted(same[list(pair)].tolist())
                same[same == high] = low
            numbers[output] = first
        elif passes and is_followed(graph, operator):
            numbers[output] = numbers[read[0]]
        else:
            numbers[output] = np.arange(same.size, same.size + graph.tensors[output].shape[-1])
            same = np.concatenate([same, numbers[output]])
    return {index: same[own] for index, own in numbers.items()}


def is_followed(graph: Graph, operator: Operator) -> bool:
    """Whether what an operator does with channels is known here."""
    channels = [graph.tensors[index].shape[-1:] for index in operator.inputs if not graph.tensors[index].is_constant]
    written = graph.tensors[operator.outputs[0]].shape
    if operator.kind == "CONCATENATION":
        return len(channels) == len(operator.inputs) and operator.attributes["axis"] in (-1, len(written) - 1)
    if operator.kind in ELEMENTWISE:
        return channels == [written[-1:], written[-1:]]
    if operator.kind == "DEPTHWISE_CONV_2D" or operator.kind in PASSES_CHANNELS:
        return channels == [written[-1:]]
    return operator.kind in ("CONV_2D", "ARG_MAX")


def unfollowed(graph: Graph, numbers: Mapping[int, np.ndarray]) -> set[int]:
    """Numbers of the channels that other operators read or write: these must stay as they are."""
    tensors = {
        index
        for operator in graph.operators
        if not is_followed(graph, operator)
        for index in (*operator.inputs, *operator.outputs)
        if index in numbers
    }
    return {number for index in tensors for number in numbers[index].tolist()}
