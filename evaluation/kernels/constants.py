"""Numbers that the C program and Python share; the header `program/constants.h` is generated from them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

LANES = 16
"""Output channels that a convolution of int8 values computes together; its weights come in blocks of as many."""
GROUP = 4
"""Values of a kernel that are stored, and multiplied, together in such a convolution."""
CHANNELS_TOGETHER = 64
"""Channels whose packed weights a depthwise convolution of bytes unpacks together."""
LONE_CHANNELS = 16
"""Fewer channels than this that are left over are unpacked together with the ones before them."""
DEPTHWISE_VALUES = 256
"""The most taps of a depthwise kernel on values of other widths than 8 bits."""
FLOAT_LANES = 16
"""Output channels that a float convolution computes together at most; blocks of 8, 4 and 1 take the rest."""
FLOAT_ROWS = 16
"""The most rows of a float convolution's filter."""
MOST_AXES = 6
"""Groups of axes that a kernel can move values along, or sum over."""
MOST_FLOAT_AXES = 4
"""Axes that a float MEAN or SUM can sum over."""
MOST_OPERANDS = 16
"""Tensors that a call can read and write in the arena."""
FEW_OPERANDS = 4
"""A call with more operands, a join of many inputs, has a larger stack frame."""


class WeightFormat(IntEnum):
    """How weights are stored that a kernel unpacks."""

    DENSE = 0
    BITMAP = 1
    RELATIVE_INDEX = 2


class Rounding(IntEnum):
    """How a sum becomes a value: as an int8 convolution, an int8 FULLY_CONNECTED, or with 16-bit activations."""

    ROUND_TWICE = 0
    ROUND_ONCE = 1
    ROUND_WIDE = 2


class FloatActivation(IntEnum):
    """The fused activation of a float kernel."""

    FLOAT_NONE = 0
    FLOAT_RELU = 1
    FLOAT_RELU6 = 2
    FLOAT_RELU_N1_TO_1 = 3


NUMBERS: Mapping[str, int] = {
    name: value for name, value in globals().items() if name.isupper() and isinstance(value, int)
}
"""By the name that they have in C."""
ENUMERATIONS: tuple[type[IntEnum], ...] = (WeightFormat, Rounding, FloatActivation)
