"""The registry of operators: how each may be planned, and the kernels of the C program that compute it.

An entry lists its kernels with the condition under which each is taken, the most particular first; the first whose
condition holds is the kernel of a call (`evaluation.kernels.selection`). An operator without kernels can be planned,
but neither interpreted nor exported. The interpreter's functions are found by the same kinds
(`evaluation.interpreter.dispatch`), and what the emitter fills a descriptor with by the kernel
(`deeplab.runtime.layers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from evaluation.kernels.descriptors import float32, int8, low_bit, uint8
from evaluation.kernels.kernel import Kernel
from evaluation.kernels.signature import (
    CallSignature,
    has_one_result,
    has_zero_points,
    is_eight_bit,
    is_eight_bit_alike,
    is_float,
    is_in_groups,
    is_int8,
    is_low_bit,
    is_of_whole_bytes,
    is_signed,
)

Kinds = tuple[str, ...]
"""TFLite names of the operators of a call: one, or several that are fused."""
Condition = Callable[[CallSignature], bool]


class InPlace(Enum):
    """What the output may do with the memory of an input that nothing else reads."""

    NEVER = "never"
    REWRITES = "rewrites"
    """Each element may be written where it was read, if the shapes and widths are equal."""
    RENAMES = "renames"
    """The bytes stay as they are: only the shape changes."""


@dataclass(frozen=True)
class Choice:
    """A kernel, and the calls that it takes."""

    kernel: Kernel
    takes: Condition


@dataclass(frozen=True)
class OperatorEntry:
    """What is known of an operator, or of a fused run of them."""

    kinds: Kinds
    choices: tuple[Choice, ...] = ()
    """The most particular first."""
    by_rows: bool = True
    """Whether a part of the output can be computed from a part of the inputs."""
    in_place: InPlace = InPlace.NEVER
    weights_at: int | None = None
    """Position of the weights among the inputs, None for an operator without."""
    bias_at: int = 2
    multipliers: int = 0
    """Multipliers that a quantized call without weights stores."""
    accumulates: bool = False
    """Whether it keeps an accumulator for each output value."""
    constants_are_parameters: bool = False
    """Whether its constant inputs are counted with the descriptor, not as weights."""

    def stores(self, position: int) -> bool:
        """Whether a constant input at a position is stored as it is, next to the weights."""
        return position == self.bias_at if self.weights_at is not None else not self.constants_are_parameters

    @property
    def is_looked_up(self) -> bool:
        """Whether values of 8 bits are looked up in a table."""
        return any(choice.kernel is int8.TABLE for choice in self.choices)


def _floats(signature: CallSignature) -> bool:
    return is_float(signature.source, signature.output)


def _int8s(signature: CallSignature) -> bool:
    return is_int8(*signature.reads, signature.output)


def _bytes(signature: CallSignature) -> bool:
    return is_eight_bit(signature.source, signature.output)


def _bytes_alike(signature: CallSignature) -> bool:
    return is_eight_bit_alike(signature.source, signature.output)


def _low_bits(signature: CallSignature) -> bool:
    return is_low_bit(*signature.reads, signature.output)


def _whole_bytes(signature: CallSignature) -> bool:
    return is_of_whole_bytes(signature.source)


def _reads_floats(signature: CallSignature) -> bool:
    return is_float(signature.source)


def _reads_bytes(signature: CallSignature) -> bool:
    return is_eight_bit(signature.source)


def _and(*conditions: Condition) -> Condition:
    return lambda signature: all(condition(signature) for condition in conditions)


def _not(condition: Condition) -> Condition:
    return lambda signature: not condition(signature)


def _packed(signature: CallSignature) -> bool:
    return signature.is_packed


def _sums_image(signature: CallSignature) -> bool:
    return signature.sums_image


def _symmetric(is_of_type: Callable[..., bool]) -> Condition:
    """Input, weights and output of a type, the weights without zero points."""

    def holds(signature: CallSignature) -> bool:
        weights = signature.required(1)
        return is_of_type(signature.source, weights, signature.output) and not has_zero_points(weights)

    return holds


def _bytes_multiplied(signature: CallSignature) -> bool:
    """Values and symmetric weights of at most 8 bits each, multiplied as bytes once they are unpacked."""
    weights = signature.required(1)
    tensors = (signature.source, weights, signature.output)
    return all(tensor.dtype == "int8" for tensor in tensors) and weights.is_constant and not has_zero_points(weights)


def _one_result(signature: CallSignature) -> bool:
    return has_one_result(signature.source, signature.required(1))


def _in_groups(signature: CallSignature) -> bool:
    return is_in_groups(signature.source, signature.required(1))


def _channel_for_channel(signature: CallSignature) -> bool:
    """A DEPTHWISE_CONV_2D with an output channel for each input channel."""
    return signature.source.shape[-1] == signature.required(1).shape[-1]


def _weights_alike(signature: CallSignature) -> bool:
    """Input, weights and output of 8 bits and of one type, whatever their zero points."""
    return is_eight_bit_alike(signature.source, signature.required(1), signature.output)


def _of_one_shape(signature: CallSignature) -> bool:
    """Two operands of the output's shape, neither of them constant."""
    return len(signature.reads) == 2 and all(tensor.shape == signature.output.shape for tensor in signature.reads)


def _operands_alike(signature: CallSignature) -> bool:
    """Both operands, constants included, and the output of 8 bits and of one type."""
    return is_eight_bit_alike(signature.required(0), signature.required(1), signature.output)


def _to_float(signature: CallSignature) -> bool:
    return is_float(signature.output)


def _requantized(signature: CallSignature) -> bool:
    """To signed values, from such or from a camera's bytes."""
    return is_signed(signature.output) and (is_signed(signature.source) or is_eight_bit(signature.source))


def _quantized(signature: CallSignature) -> bool:
    return is_float(signature.source) and is_eight_bit(signature.output)


def _dequantized(signature: CallSignature) -> bool:
    return is_eight_bit(signature.source) and is_float(signature.output)


def _reads_uint8(signature: CallSignature) -> bool:
    return is_eight_bit(signature.source) and signature.source.dtype == "uint8"


def _joins_channels(signature: CallSignature) -> bool:
    """Inputs that are all read, side by side along the last axis, which are values with a quantization."""
    tensors = (*signature.reads, signature.output)
    last = signature.operator.attributes["axis"] % len(signature.output.shape) == len(signature.output.shape) - 1
    is_quantized = all(tensor.quantization is not None for tensor in tensors)
    return last and is_quantized and len(signature.reads) == len(signature.inputs)


_BINARY = (Choice(float32.BINARY, _to_float), Choice(int8.BROADCAST, _operands_alike))
_ACTIVATION = (
    Choice(float32.UNARY, _floats),
    Choice(low_bit.REQUANTIZE, _requantized),
    Choice(int8.REQUANTIZE, _bytes_alike),
)
_TABLE = (Choice(float32.UNARY, _floats), Choice(int8.TABLE, _bytes))
_MOVED = (Choice(int8.STRIDED, _whole_bytes),)
_SUMS = (Choice(int8.RUNNING_SUMS, _and(_bytes_alike, _sums_image)), Choice(int8.AXIS_SUMS, _bytes_alike))
_FLOAT_SUMS = (Choice(float32.GLOBAL_MEAN, _and(_floats, _sums_image)), Choice(float32.MEAN, _floats))

ENTRIES: tuple[OperatorEntry, ...] = (
    OperatorEntry(
        ("CONV_2D",),
        (
            Choice(float32.PACKED_GROUPED_CONVOLUTION, _and(_floats, _in_groups, _packed)),
            Choice(float32.GROUPED_CONVOLUTION, _and(_floats, _in_groups)),
            Choice(int8.GROUPED_CONVOLUTION, _and(_symmetric(is_int8), _in_groups, _not(_packed))),
            Choice(low_bit.GROUPED_CONVOLUTION, _and(_symmetric(is_signed), _in_groups)),
            Choice(float32.PACKED_CONVOLUTION, _and(_floats, _packed)),
            Choice(float32.CONVOLUTION, _floats),
            Choice(int8.CONVOLUTION, _and(_symmetric(is_int8), _not(_packed))),
            Choice(low_bit.PACKED_CONVOLUTION, _bytes_multiplied),
            Choice(low_bit.CONVOLUTION, _symmetric(is_signed)),
            Choice(uint8.CONVOLUTION, _and(_weights_alike, _not(_in_groups))),
        ),
        weights_at=1,
    ),
    OperatorEntry(
        ("DEPTHWISE_CONV_2D",),
        (
            Choice(float32.PACKED_DEPTHWISE, _and(_floats, _packed)),
            Choice(float32.DEPTHWISE, _floats),
            Choice(int8.DEPTHWISE, _and(_symmetric(is_int8), _not(_packed))),
            Choice(low_bit.PACKED_DEPTHWISE, _and(_int8s, _bytes_multiplied, _channel_for_channel)),
            Choice(low_bit.DEPTHWISE, _symmetric(is_signed)),
            Choice(uint8.DEPTHWISE, _weights_alike),
        ),
        weights_at=1,
    ),
    OperatorEntry(
        ("FULLY_CONNECTED",),
        (
            Choice(float32.PACKED_FULLY_CONNECTED, _and(_floats, _packed)),
            Choice(float32.FULLY_CONNECTED, _floats),
            Choice(int8.CONVOLUTION, _and(_symmetric(is_int8), _one_result, _not(_packed))),
            Choice(low_bit.PACKED_CONVOLUTION, _and(_bytes_multiplied, _one_result)),
            Choice(low_bit.CONVOLUTION, _and(_symmetric(is_signed), _one_result)),
            Choice(uint8.FULLY_CONNECTED, _weights_alike),
        ),
        by_rows=False,
        weights_at=1,
    ),
    OperatorEntry(
        ("TRANSPOSE_CONV",),
        (
            Choice(float32.PACKED_TRANSPOSED, _and(_floats, _packed)),
            Choice(float32.TRANSPOSED, _floats),
            Choice(uint8.TRANSPOSED, _weights_alike),
        ),
        by_rows=False,
        weights_at=1,
        bias_at=3,
    ),
    OperatorEntry(
        ("ADD",),
        (
            Choice(int8.ADD, _and(_int8s, _of_one_shape)),
            Choice(low_bit.ADD, _and(_low_bits, _of_one_shape)),
            *_BINARY,
        ),
        in_place=InPlace.REWRITES,
        multipliers=3,
    ),
    OperatorEntry(("SUB",), _BINARY, in_place=InPlace.REWRITES, multipliers=3),
    OperatorEntry(("MUL",), _BINARY, in_place=InPlace.REWRITES, multipliers=1),
    OperatorEntry(("DIV",), (Choice(float32.BINARY, _to_float),), in_place=InPlace.REWRITES),
    OperatorEntry(("MINIMUM",), _BINARY, in_place=InPlace.REWRITES),
    OperatorEntry(("MAXIMUM",), _BINARY, in_place=InPlace.REWRITES),
    OperatorEntry(("PRELU",), _BINARY, in_place=InPlace.REWRITES, multipliers=2),
    OperatorEntry(("SQUARED_DIFFERENCE",), _BINARY, in_place=InPlace.REWRITES, multipliers=3),
    OperatorEntry(
        ("QUANTIZE",),
        (
            Choice(int8.REQUANTIZE, _bytes),
            Choice(low_bit.REQUANTIZE, _requantized),
            Choice(int8.QUANTIZE_REAL, _quantized),
        ),
        in_place=InPlace.REWRITES,
        multipliers=1,
    ),
    OperatorEntry(("DEQUANTIZE",), (Choice(int8.DEQUANTIZE, _dequantized),)),
    OperatorEntry(("CAST",)),
    *(OperatorEntry((kind,), _ACTIVATION, in_place=InPlace.REWRITES) for kind in ("RELU", "RELU6", "RELU_N1_TO_1")),
    *(
        OperatorEntry((kind,), _TABLE, in_place=InPlace.REWRITES)
        for kind in ("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU", "ELU")
    ),
    *(
        OperatorEntry((kind,), in_place=InPlace.REWRITES)
        for kind in ("ABS", "NEG", "EXP", "SQRT", "RSQRT", "SQUARE", "FLOOR", "CEIL", "ROUND")
    ),
    OperatorEntry(("SOFTMAX",), (Choice(float32.SOFTMAX, _floats), Choice(int8.SOFTMAX, _bytes))),
    OperatorEntry(("LOG_SOFTMAX",)),
    OperatorEntry(
        ("ARG_MAX",),
        (Choice(float32.ARGMAX, _reads_floats), Choice(int8.ARGMAX, _reads_bytes)),
        constants_are_parameters=True,
    ),
    OperatorEntry(("ARG_MIN",), constants_are_parameters=True),
    OperatorEntry(
        ("AVERAGE_POOL_2D",),
        (
            Choice(float32.GLOBAL_MEAN, _and(_floats, _sums_image)),
            Choice(float32.POOL, _floats),
            Choice(int8.GLOBAL_POOL, _and(_int8s, _sums_image)),
            Choice(low_bit.POOL, _and(_low_bits, _sums_image)),
            Choice(low_bit.WINDOW_POOL, _low_bits),
            Choice(int8.RUNNING_SUMS, _and(_bytes_alike, _sums_image)),
            Choice(int8.AVERAGE_POOL, _bytes_alike),
        ),
    ),
    OperatorEntry(
        ("MAX_POOL_2D",),
        (
            Choice(float32.POOL, _floats),
            Choice(low_bit.WINDOW_POOL, _low_bits),
            Choice(int8.MAX_POOL, _bytes_alike),
        ),
    ),
    OperatorEntry(
        ("MEAN",),
        (
            *_FLOAT_SUMS,
            Choice(int8.GLOBAL_POOL, _and(_int8s, _sums_image)),
            Choice(low_bit.POOL, _and(_low_bits, _sums_image)),
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
            Choice(float32.RESIZE_BILINEAR, _floats),
            Choice(int8.RESIZE_BILINEAR, _int8s),
            Choice(low_bit.RESIZE, _low_bits),
            Choice(uint8.RESIZE_REAL, _and(_bytes_alike, _reads_uint8)),
        ),
        constants_are_parameters=True,
    ),
    OperatorEntry(
        ("RESIZE_BILINEAR", "ARG_MAX"),
        (
            Choice(float32.RESIZE_ARGMAX, _reads_floats),
            Choice(int8.RESIZE_ARGMAX, lambda signature: is_int8(signature.source)),
            Choice(low_bit.RESIZE_ARGMAX, lambda signature: is_low_bit(signature.source)),
            Choice(uint8.RESIZE_REAL_ARGMAX, _reads_uint8),
        ),
    ),
    OperatorEntry(
        ("RESIZE_NEAREST_NEIGHBOR",), (Choice(int8.RESIZE_NEAREST, _whole_bytes),), constants_are_parameters=True
    ),
    OperatorEntry(
        ("CONCATENATION",),
        (
            Choice(low_bit.CONCATENATION, _and(_low_bits, _joins_channels)),
            Choice(int8.JOIN, lambda signature: is_of_whole_bytes(*signature.reads, signature.output)),
        ),
    ),
    *(
        OperatorEntry((kind,), (Choice(int8.PAD, _whole_bytes),), constants_are_parameters=True)
        for kind in ("PAD", "PADV2")
    ),
    OperatorEntry(
        ("MIRROR_PAD",), (Choice(int8.MIRROR_PAD, _whole_bytes),), by_rows=False, constants_are_parameters=True
    ),
    OperatorEntry(("DEPTH_TO_SPACE",), (Choice(int8.DEPTH_TO_SPACE, _whole_bytes),)),
    OperatorEntry(("SPACE_TO_DEPTH",), (Choice(int8.SPACE_TO_DEPTH, _whole_bytes),)),
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
"""By the kinds of the operators of a call."""
COPY = int8.COPY
"""Of rows that are kept for the next tile; no operator's."""
KERNELS: tuple[Kernel, ...] = tuple(
    dict.fromkeys([COPY, *(choice.kernel for entry in ENTRIES for choice in entry.choices)])
)
"""Every kernel of the C program."""


def entry_of(kind: str) -> OperatorEntry | None:
    """The entry of one operator, None where it cannot be planned."""
    return REGISTRY.get((kind,))
