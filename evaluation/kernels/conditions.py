"""Conditions under which a kernel is taken: on the types, shapes and weight format of a call."""

from __future__ import annotations

from collections.abc import Callable

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

Condition = Callable[[CallSignature], bool]


def floats(signature: CallSignature) -> bool:
    """The first input and the output are float32."""
    return is_float(signature.source, signature.output)


def int8s(signature: CallSignature) -> bool:
    """All that is read or written is int8 of 8 bits."""
    return is_int8(*signature.reads, signature.output)


def eight_bit(signature: CallSignature) -> bool:
    """The first input and the output are of 8 bits."""
    return is_eight_bit(signature.source, signature.output)


def eight_bit_alike(signature: CallSignature) -> bool:
    """The first input and the output are of 8 bits and of one type."""
    return is_eight_bit_alike(signature.source, signature.output)


def low_bits(signature: CallSignature) -> bool:
    """All that is read or written is signed and of at most 16 bits, not all of 8."""
    return is_low_bit(*signature.reads, signature.output)


def whole_bytes(signature: CallSignature) -> bool:
    """The elements of the first input are whole bytes."""
    return is_of_whole_bytes(signature.source)


def reads_floats(signature: CallSignature) -> bool:
    """The first input is float32, whatever the output is."""
    return is_float(signature.source)


def reads_eight_bit(signature: CallSignature) -> bool:
    """The first input is of 8 bits, whatever the output is."""
    return is_eight_bit(signature.source)


def packed(signature: CallSignature) -> bool:
    """The weights come through scratch."""
    return signature.is_packed


def dense(signature: CallSignature) -> bool:
    """The weights are read as they are stored."""
    return not signature.is_packed


def sums_image(signature: CallSignature) -> bool:
    """It sums over all rows and columns of an image."""
    return signature.sums_image


def symmetric(is_of_type: Callable[..., bool]) -> Condition:
    """Input, weights and output of a type, the weights without zero points."""

    def holds(signature: CallSignature) -> bool:
        weights = signature.required(1)
        return is_of_type(signature.source, weights, signature.output) and not has_zero_points(weights)

    return holds


def bytes_multiplied(signature: CallSignature) -> bool:
    """Values and symmetric weights of at most 8 bits each, multiplied as bytes once they are unpacked."""
    weights = signature.required(1)
    tensors = (signature.source, weights, signature.output)
    return all(tensor.dtype == "int8" for tensor in tensors) and weights.is_constant and not has_zero_points(weights)


def one_result(signature: CallSignature) -> bool:
    """A FULLY_CONNECTED of one vector."""
    return has_one_result(signature.source, signature.required(1))


def in_groups(signature: CallSignature) -> bool:
    """A CONV_2D in groups of channels."""
    return is_in_groups(signature.source, signature.required(1))


def ungrouped(signature: CallSignature) -> bool:
    """A CONV_2D each of whose output channels reads all of the input's."""
    return not in_groups(signature)


def channel_for_channel(signature: CallSignature) -> bool:
    """A DEPTHWISE_CONV_2D with an output channel for each input channel."""
    return signature.source.shape[-1] == signature.required(1).shape[-1]


def weights_alike(signature: CallSignature) -> bool:
    """Input, weights and output of 8 bits and of one type, whatever their zero points."""
    return is_eight_bit_alike(signature.source, signature.required(1), signature.output)


def of_one_shape(signature: CallSignature) -> bool:
    """Two operands of the output's shape, neither of them constant."""
    return len(signature.reads) == 2 and all(tensor.shape == signature.output.shape for tensor in signature.reads)


def operands_alike(signature: CallSignature) -> bool:
    """Both operands, constants included, and the output of 8 bits and of one type."""
    return is_eight_bit_alike(signature.required(0), signature.required(1), signature.output)


def to_float(signature: CallSignature) -> bool:
    """The output is float32."""
    return is_float(signature.output)


def requantized(signature: CallSignature) -> bool:
    """To signed values, from such or from a camera's bytes."""
    return is_signed(signature.output) and (is_signed(signature.source) or is_eight_bit(signature.source))


def quantized(signature: CallSignature) -> bool:
    """From float32 to 8 bits."""
    return is_float(signature.source) and is_eight_bit(signature.output)


def dequantized(signature: CallSignature) -> bool:
    """From 8 bits to float32."""
    return is_eight_bit(signature.source) and is_float(signature.output)


def reads_uint8(signature: CallSignature) -> bool:
    """The first input is uint8."""
    return is_eight_bit(signature.source) and signature.source.dtype == "uint8"


def joins_channels(signature: CallSignature) -> bool:
    """Inputs that are all read, side by side along the last axis, which are values with a quantization."""
    tensors = (*signature.reads, signature.output)
    last = signature.operator.attributes["axis"] % len(signature.output.shape) == len(signature.output.shape) - 1
    is_quantized = all(tensor.quantization is not None for tensor in tensors)
    return last and is_quantized and len(signature.reads) == len(signature.inputs)


def reads_int8(signature: CallSignature) -> bool:
    """The first input is int8 of 8 bits."""
    return is_int8(signature.source)


def reads_low_bit(signature: CallSignature) -> bool:
    """The first input is signed and of at most 16 bits, not of 8."""
    return is_low_bit(signature.source)


def whole_bytes_throughout(signature: CallSignature) -> bool:
    """The elements of all that is read or written are whole bytes."""
    return is_of_whole_bytes(*signature.reads, signature.output)
