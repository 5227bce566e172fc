"""Constants shared by Python and the C program, whose header `program/constants.h` is generated from this module."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

LANES = 16
"""Output channels that an int8 convolution computes together, and the size of a block of its weights."""
GROUP = 4
"""Consecutive values of a kernel that an int8 convolution stores and multiplies together."""
PACKED_DEPTHWISE_CHANNELS = 64
"""Channels whose packed weights an int8 depthwise convolution unpacks together."""
LEAST_REMAINDER = 16
"""A remainder of fewer channels is unpacked together with the block before it."""
MOST_DEPTHWISE_TAPS = 256
"""Largest number of taps of a low-bit depthwise filter."""
SIGMOID_ENTRIES = 256
"""Entries of the table from which LOGISTIC and TANH of 16-bit values are computed."""
FLOAT_LANES = 16
"""Largest number of output channels that a float convolution computes together; the remainder is in blocks of 8, 4 and
1."""
FLOAT_ROWS = 16
"""Largest number of rows of a float convolution's filter."""
MOST_AXES = 6
"""Largest number of axes that `strided` and `axis_sums` step along, adjacent axes merged."""
MOST_FLOAT_AXES = 4
"""Largest rank of the input of a float MEAN or SUM over any axes."""
MOST_OPERANDS = 16
"""Largest number of tensors that a call reads and writes in the arena."""
FEW_OPERANDS = 4
"""A call with more operands (a concatenation of many inputs) has a larger stack frame."""


class WeightFormat(IntEnum):
    """Storage format of packed weights."""

    DENSE = 0
    BITMAP = 1
    RELATIVE_INDEX = 2


class Rounding(IntEnum):
    """Rounding when a sum is requantized: of int8 convolutions, of int8 FULLY_CONNECTED, and of 16-bit activations."""

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
"""Constant by its name, which is the same in C."""
ENUMERATIONS: tuple[type[IntEnum], ...] = (WeightFormat, Rounding, FloatActivation)
