"""The registry of operators: their planning rules, and the kernels of the C program that compute them.

An entry lists its kernels with their conditions, the most specific first; the first kernel whose conditions hold runs a
call (`evaluation.kernels.selection`). An operator without kernels can be planned, but neither interpreted nor exported.
The interpreter's functions have the same keys (`evaluation.interpreter.dispatch`); the functions that fill descriptors
are found by kernel (`deeplab.runtime.layers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from evaluation.graph import Tensor
from evaluation.kernels import conditions as when
from evaluation.kernels.conditions import Condition
from evaluation.kernels.constants import SIGMOID_ENTRIES
from evaluation.kernels.descriptors import float32, int8, low_bit, uint8
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.signature import CallSignature, is_int8, is_signed

Kinds = tuple[str, ...]
"""TFLite names of the operators of a call: one, or several that are fused."""


class InPlace(Enum):
    """How the output may reuse the memory of an input that nothing else reads."""

    NEVER = "never"
    REWRITES = "rewrites"
    """Each element may overwrite the one it is computed from, if shapes and widths are equal."""
    RENAMES = "renames"
    """The bytes are unchanged; only the shape differs."""


@dataclass(frozen=True)
class Choice:
    """A kernel and the conditions under which it runs a call."""

    kernel: Kernel
    conditions: tuple[Condition, ...]

    def takes(self, signature: CallSignature) -> bool:
        """Whether all conditions hold for a call."""
        return all(condition(signature) for condition in self.conditions)


def choice(kernel: Kernel, *conditions: Condition) -> Choice:
    """A kernel that runs the calls for which all conditions hold."""
    return Choice(kernel, conditions)


@dataclass(frozen=True)
class OperatorEntry:
    """Planning rules and kernels of an operator, or of a fused sequence of operators."""

    kinds: Kinds
    choices: tuple[Choice, ...] = ()
    """The most specific first."""
    by_rows: bool = True
    """Whether a part of the output can be computed from a part of the inputs."""
    in_place: InPlace = InPlace.NEVER
    weights_at: int | None = None
    """Position of the weights among the inputs, None without weights."""
    bias_at: int = 2
    multipliers: int = 0
    """Multipliers that a quantized call without weights stores."""
    accumulates: bool = False
    """Whether it needs an accumulator for each output value."""
    constants_are_parameters: bool = False
    """Whether its constant inputs are counted with the descriptor, not as weights."""
    wide_table_bytes: int = 0
    """Bytes of the table of a call on 16-bit values: outputs, or the one constant operand of LEAKY_RELU."""

    def stores(self, position: int) -> bool:
        """Whether the constant input at a position is stored unchanged, in addition to the weights."""
        return position == self.bias_at if self.weights_at is not None else not self.constants_are_parameters

    def table_bytes(self, source: Tensor) -> int:
        """Bytes of the table of a function of values of this type, 0 without one."""
        if source.dtype == "int16":
            return self.wide_table_bytes
        is_looked_up = any(one.kernel in (int8.TABLE, low_bit.TABLE) for one in self.choices)
        return 1 << source.bits if is_looked_up and source.dtype in ("int8", "uint8") else 0


_BINARY = (
    choice(float32.BINARY, when.to_float),
    choice(int8.BROADCAST, when.operands_alike),
    choice(low_bit.BROADCAST, when.operands_signed),
)
_ACTIVATION = (
    choice(float32.UNARY, when.floats),
    choice(low_bit.REQUANTIZE, when.requantized),
    choice(int8.REQUANTIZE, when.eight_bit_alike),
)
_TABLE = (
    choice(float32.UNARY, when.floats),
    choice(int8.TABLE, when.eight_bit),
    choice(low_bit.TABLE, when.signed_bytes),
)
_MOVED = (choice(int8.STRIDED, when.whole_bytes), choice(low_bit.STRIDED, when.subbyte))
_SUMS = (
    choice(int8.RUNNING_SUMS, when.eight_bit_alike, when.sums_image),
    choice(int8.AXIS_SUMS, when.eight_bit_alike),
)
_FLOAT_SUMS = (
    choice(float32.GLOBAL_MEAN, when.floats, when.sums_image),
    choice(float32.MEAN, when.floats),
)

ENTRIES: tuple[OperatorEntry, ...] = (
    OperatorEntry(
        ("CONV_2D",),
        (
            choice(float32.PACKED_GROUPED_CONVOLUTION, when.floats, when.in_groups, when.packed),
            choice(float32.GROUPED_CONVOLUTION, when.floats, when.in_groups),
            choice(
                int8.GROUPED_CONVOLUTION,
                when.symmetric(is_int8),
                when.in_groups,
                when.dense,
            ),
            choice(low_bit.GROUPED_CONVOLUTION, when.symmetric(is_signed), when.in_groups),
            choice(float32.PACKED_CONVOLUTION, when.floats, when.packed),
            choice(float32.CONVOLUTION, when.floats),
            choice(int8.CONVOLUTION, when.symmetric(is_int8), when.dense),
            choice(low_bit.PACKED_CONVOLUTION, when.bytes_multiplied),
            choice(low_bit.CONVOLUTION, when.symmetric(is_signed)),
            choice(uint8.CONVOLUTION, when.weights_alike, when.ungrouped),
        ),
        weights_at=1,
    ),
    OperatorEntry(
        ("DEPTHWISE_CONV_2D",),
        (
            choice(float32.PACKED_DEPTHWISE, when.floats, when.packed),
            choice(float32.DEPTHWISE, when.floats),
            choice(int8.DEPTHWISE, when.symmetric(is_int8), when.dense),
            choice(low_bit.PACKED_DEPTHWISE, when.int8s, when.bytes_multiplied, when.channel_for_channel),
            choice(low_bit.DEPTHWISE, when.symmetric(is_signed)),
            choice(uint8.DEPTHWISE, when.weights_alike),
        ),
        weights_at=1,
    ),
    OperatorEntry(
        ("FULLY_CONNECTED",),
        (
            choice(float32.PACKED_FULLY_CONNECTED, when.floats, when.packed),
            choice(float32.FULLY_CONNECTED, when.floats),
            choice(int8.CONVOLUTION, when.symmetric(is_int8), when.one_result, when.dense),
            choice(low_bit.PACKED_CONVOLUTION, when.bytes_multiplied, when.one_result),
            choice(low_bit.CONVOLUTION, when.symmetric(is_signed), when.one_result),
            choice(uint8.FULLY_CONNECTED, when.weights_alike),
        ),
        by_rows=False,
        weights_at=1,
    ),
    OperatorEntry(
        ("TRANSPOSE_CONV",),
        (
            choice(float32.PACKED_TRANSPOSED, when.floats, when.packed),
            choice(float32.TRANSPOSED, when.floats),
            choice(low_bit.TRANSPOSED, when.symmetric(is_signed)),
            choice(uint8.TRANSPOSED, when.weights_alike),
        ),
        weights_at=1,
        bias_at=3,
    ),
    OperatorEntry(
        ("ADD",),
        (
            choice(int8.ADD, when.int8s, when.of_one_shape),
            choice(low_bit.ADD, when.low_bits, when.of_one_shape),
            *_BINARY,
        ),
        in_place=InPlace.REWRITES,
        multipliers=3,
    ),
    OperatorEntry(("SUB",), _BINARY, in_place=InPlace.REWRITES, multipliers=3),
    OperatorEntry(("MUL",), _BINARY, in_place=InPlace.REWRITES, multipliers=1),
    OperatorEntry(("DIV",), (choice(float32.BINARY, when.to_float),), in_place=InPlace.REWRITES),
    OperatorEntry(("MINIMUM",), _BINARY, in_place=InPlace.REWRITES),
    OperatorEntry(("MAXIMUM",), _BINARY, in_place=InPlace.REWRITES),
    OperatorEntry(("PRELU",), _BINARY, in_place=InPlace.REWRITES, multipliers=2),
    OperatorEntry(("SQUARED_DIFFERENCE",), _BINARY, in_place=InPlace.REWRITES, multipliers=3),
    OperatorEntry(
        ("QUANTIZE",),
        (
            choice(int8.PIXEL_TABLES, when.scaled_by_channel, when.to_one_scale, when.whole_bytes_throughout),
            choice(int8.REQUANTIZE, when.eight_bit),
            choice(low_bit.REQUANTIZE, when.requantized),
            choice(int8.QUANTIZE_REAL, when.quantized),
        ),
        in_place=InPlace.REWRITES,
        multipliers=1,
    ),
    OperatorEntry(
        ("DEQUANTIZE",),
        (
            choice(int8.DEQUANTIZE_CHANNELS, when.dequantized, when.scaled_by_channel),
            choice(int8.DEQUANTIZE, when.dequantized),
        ),
    ),
    OperatorEntry(("CAST",)),
    *(OperatorEntry((kind,), _ACTIVATION, in_place=InPlace.REWRITES) for kind in ("RELU", "RELU6", "RELU_N1_TO_1")),
    *(
        OperatorEntry((kind,), (*_TABLE, wide), in_place=InPlace.REWRITES, wide_table_bytes=wide_table_bytes)
        for kind, wide, wide_table_bytes in (
            ("LOGISTIC", choice(low_bit.SIGMOID, when.sixteen_bits), 2 * SIGMOID_ENTRIES),
            ("TANH", choice(low_bit.SIGMOID, when.sixteen_bits), 2 * SIGMOID_ENTRIES),
            ("HARD_SWISH", choice(low_bit.INTERPOLATION, when.sixteen_bits), 2 * 513),
            ("LEAKY_RELU", choice(low_bit.BROADCAST, when.sixteen_bits), 2),
            ("ELU", choice(low_bit.INTERPOLATION, when.sixteen_bits), 2 * 513),
        )
    ),
    *(
        OperatorEntry((kind,), in_place=InPlace.REWRITES)
        for kind in ("ABS", "NEG", "EXP", "SQRT", "RSQRT", "SQUARE", "FLOOR", "CEIL", "ROUND")
    ),
    OperatorEntry(("SOFTMAX",), (choice(float32.SOFTMAX, when.floats), choice(int8.SOFTMAX, when.eight_bit))),
    OperatorEntry(("LOG_SOFTMAX",)),
    OperatorEntry(
        ("ARG_MAX",),
        (
            choice(float32.ARGMAX, when.reads_floats),
            choice(int8.ARGMAX, when.reads_eight_bit),
            choice(low_bit.ARGMAX, when.reads_low_bit),
        ),
        constants_are_parameters=True,
    ),
    OperatorEntry(("ARG_MIN",), constants_are_parameters=True),
    OperatorEntry(
        ("AVERAGE_POOL_2D",),
        (
            choice(float32.GLOBAL_MEAN, when.floats, when.sums_image),
            choice(float32.POOL, when.floats),
            choice(int8.GLOBAL_POOL, when.int8s, when.sums_image),
            choice(low_bit.POOL, when.low_bits, when.sums_image),
            choice(low_bit.WINDOW_POOL, when.low_bits),
            choice(int8.RUNNING_SUMS, when.eight_bit_alike, when.sums_image),
            choice(int8.AVERAGE_POOL, when.eight_bit_alike),
        ),
    ),
    OperatorEntry(
        ("MAX_POOL_2D",),
        (
            choice(float32.POOL, when.floats),
            choice(low_bit.WINDOW_POOL, when.low_bits),
            choice(int8.MAX_POOL, when.eight_bit_alike),
        ),
    ),
    OperatorEntry(
        ("MEAN",),
        (
            *_FLOAT_SUMS,
            choice(int8.GLOBAL_POOL, when.int8s, when.sums_image),
            choice(low_bit.POOL, when.low_bits, when.sums_image),
            *_SUMS,
        ),
        by_rows=False,
        multipliers=1,
        accumulates=True,
        constants_are_parameters=True,
    ),
    OperatorEntry(("SUM",), (*_FLOAT_SUMS, *_SUMS), by_rows=False, accumulates=True, constants_are_parameters=True),
    *(OperatorEntry((kind,), by_rows=False, constants_are_parameters=True) for kind in ("REDUCE_MAX", "REDUCE_MIN")),
    OperatorEntry(
        ("RESIZE_BILINEAR",),
        (
            choice(float32.RESIZE_BILINEAR, when.floats),
            choice(int8.RESIZE_BILINEAR, when.int8s),
            choice(low_bit.RESIZE, when.low_bits),
            choice(uint8.RESIZE_REAL, when.eight_bit_alike, when.reads_uint8),
        ),
        constants_are_parameters=True,
    ),
    OperatorEntry(
        ("RESIZE_BILINEAR", "ARG_MAX"),
        (
            choice(float32.RESIZE_ARGMAX, when.reads_floats),
            choice(int8.RESIZE_ARGMAX, when.reads_int8),
            choice(low_bit.RESIZE_ARGMAX, when.reads_low_bit),
            choice(uint8.RESIZE_REAL_ARGMAX, when.reads_uint8),
        ),
    ),
    OperatorEntry(
        ("RESIZE_NEAREST_NEIGHBOR",),
        (choice(int8.RESIZE_NEAREST, when.whole_bytes), choice(low_bit.RESIZE_NEAREST, when.subbyte)),
        constants_are_parameters=True,
    ),
    OperatorEntry(
        ("CONCATENATION",),
        (
            choice(low_bit.CONCATENATION, when.low_bits, when.joins_channels),
            choice(int8.JOIN, when.whole_bytes_throughout),
        ),
    ),
    *(
        OperatorEntry(
            (kind,),
            (choice(int8.PAD, when.whole_bytes), choice(low_bit.PAD, when.subbyte)),
            constants_are_parameters=True,
        )
        for kind in ("PAD", "PADV2")
    ),
    OperatorEntry(
        ("MIRROR_PAD",), (choice(int8.MIRROR_PAD, when.whole_bytes),), by_rows=False, constants_are_parameters=True
    ),
    OperatorEntry(("DEPTH_TO_SPACE",), (choice(int8.DEPTH_TO_SPACE, when.whole_bytes),)),
    OperatorEntry(("SPACE_TO_DEPTH",), (choice(int8.SPACE_TO_DEPTH, when.whole_bytes),)),
    *(
        OperatorEntry((kind,), _MOVED, by_rows=False, in_place=InPlace.RENAMES, constants_are_parameters=True)
        for kind in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
    ),
    *(
        OperatorEntry((kind,), _MOVED, by_rows=False, constants_are_parameters=True)
        for kind in ("TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT")
    ),
    OperatorEntry(("PACK",), by_rows=False),
    OperatorEntry(("BATCH_MATMUL",), by_rows=False),
)

REGISTRY: Mapping[Kinds, OperatorEntry] = {entry.kinds: entry for entry in ENTRIES}
"""Entry by the kinds of the operators of a call."""
COPY = int8.COPY
"""Kernel that copies rows into row caches; it belongs to no operator."""
KERNELS: tuple[Kernel, ...] = tuple(dict.fromkeys([COPY, *(one.kernel for entry in ENTRIES for one in entry.choices)]))
"""Every kernel of the C program."""


def entry_of(kind: str) -> OperatorEntry | None:
    """The entry of one operator, None where it cannot be planned."""
    return REGISTRY.get((kind,))
