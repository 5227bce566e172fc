"""Which channels of a network's activations are the same channel, by propagation through its graph."""

from __future__ import annotations

import numpy as np

from evaluation.graph import Graph

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
    count = 0

    def new(channels: int) -> np.ndarray:
        nonlocal count
        count += channels
        return np.arange(count - channels, count)

    for operator in graph.operators:
        (output,) = operator.outputs
        if output in graph.outputs:
            continue
        channels = graph.tensors[output].shape[-1]
        read = [index for index in operator.inputs if index in numbers]
        passes = operator.kind in PASSES_CHANNELS or (operator.kind == "DEPTHWISE_CONV_2D" and through_depthwise)
        if operator.kind == "CONCATENATION":
            numbers[output] = np.concatenate([numbers[index] for index in read])
        elif operator.kind in ELEMENTWISE and [len(numbers[index]) for index in read] == [channels, channels]:
            first, second = (numbers[index] for index in read)
            same = np.arange(count)
            same[second] = first
            numbers = {index: same[own] for index, own in numbers.items()}
            numbers[output] = same[first]
        elif passes:
            numbers[output] = numbers[read[0]]
        else:
            numbers[output] = new(channels)
    return numbers
