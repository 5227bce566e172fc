"""Predicates on the types, shapes and weight format of a call, by which the registry selects kernels."""

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
    is_int16,
    is_low_bit,
    is_of_whole_bytes,
    is_signed,
    is_subbyte,
)

Condition = Callable[[CallSignature], bool]


def floats(signature: CallSignature) -> bool:
    """The first input and the output are float32."""
    return is_float(signature.source, signature.output)


def int8s(signature: CallSignature) -> bool:
    """The non-constant inputs and the output are int8 of 8 bits."""
    return is_int8(*signature.reads, signature.output)


def eight_bit(signature: CallSignature) -> bool:
    """The first input and the output are int8 or uint8."""
    return is_eight_bit(signature.source, signature.output)


def eight_bit_alike(signature: CallSignature) -> bool:
    """The first input and the output are both int8 or both uint8."""
    return is_eight_bit_alike(signature.source, signature.output)


def low_bits(signature: CallSignature) -> bool:
    """The non-constant inputs and the output are signed, of at most 16 bits, and not all of 8."""
    return is_low_bit(*signature.reads, signature.output)


def signed_bytes(signature: CallSignature) -> bool:
    """The first input and the output are int8 of at most 8 bits."""
    return all(tensor.dtype == "int8" for tensor in (signature.source, signature.output))


def sixteen_bits(signature: CallSignature) -> bool:
    """The first input and the output are int16."""
    return is_int16(signature.source, signature.output)


def subbyte(signature: CallSignature) -> bool:
    """The non-constant inputs and the output are signed, of one width below 8 bits."""
    tensors = (*signature.reads, signature.output)
    return is_subbyte(*tensors) and len({tensor.bits for tensor in tensors}) == 1


def whole_bytes(signature: CallSignature) -> bool:
    """The elements of the first input fill the bytes of their type."""
    return is_of_whole_bytes(signature.source)


def reads_floats(signature: CallSignature) -> bool:
    """The first input is float32."""
    return is_float(signature.source)


def reads_eight_bit(signature: CallSignature) -> bool:
    """The first input is int8 or uint8."""
    return is_eight_bit(signature.source)


def packed(signature: CallSignature) -> bool:
    """The weights are unpacked into scratch."""
    return signature.is_packed


def dense(signature: CallSignature) -> bool:
    """The weights are read in place."""
    return not signature.is_packed


def sums_image(signature: CallSignature) -> bool:
    """The call sums over all rows and columns of an image."""
    return signature.sums_image


def symmetric(is_of_type: Callable[..., bool]) -> Condition:
    """Input, weights and output are of a type, and the weights have no zero points."""

    def holds(signature: CallSignature) -> bool:
        weights = signature.required(1)
        return is_of_type(signature.source, weights, signature.output) and not has_zero_points(weights)

    return holds


def bytes_multiplied(signature: CallSignature) -> bool:
    """Input, output and constant weights are int8 of at most 8 bits, and the weights have no zero points."""
    weights = signature.required(1)
    tensors = (signature.source, weights, signature.output)
    return all(tensor.dtype == "int8" for tensor in tensors) and weights.is_constant and not has_zero_points(weights)


def one_result(signature: CallSignature) -> bool:
    """The input of a FULLY_CONNECTED is one vector."""
    return has_one_result(signature.source, signature.required(1))


def in_groups(signature: CallSignature) -> bool:
    """The CONV_2D has several groups."""
    return is_in_groups(signature.source, signature.required(1))


def ungrouped(signature: CallSignature) -> bool:
    """The CONV_2D has one group."""
    return not in_groups(signature)


def channel_for_channel(signature: CallSignature) -> bool:
    """The DEPTHWISE_CONV_2D has channel multiplier 1."""
    return signature.source.shape[-1] == signature.required(1).shape[-1]


def weights_alike(signature: CallSignature) -> bool:
    """Input, weights and output are all int8 or all uint8, whatever their zero points."""
    return is_eight_bit_alike(signature.source, signature.required(1), signature.output)


def of_one_shape(signature: CallSignature) -> bool:
    """There are two non-constant operands, both of the output's shape."""
    return len(signature.reads) == 2 and all(tensor.shape == signature.output.shape for tensor in signature.reads)


def operands_alike(signature: CallSignature) -> bool:
    """Both operands, constants included, and the output are all int8 or all uint8."""
    return is_eight_bit_alike(signature.required(0), signature.required(1), signature.output)


def operands_signed(signature: CallSignature) -> bool:
    """Both operands, constants included, and the output are int8 of at most 8 bits, or all are int16."""
    tensors = signature.required(0), signature.required(1), signature.output
    return is_signed(*tensors) and len({tensor.dtype for tensor in tensors}) == 1


def to_float(signature: CallSignature) -> bool:
    """The output is float32."""
    return is_float(signature.output)


def requantized(signature: CallSignature) -> bool:
    """The output is signed, the input signed or of 8 bits (a camera's uint8)."""
    return is_signed(signature.output) and (is_signed(signature.source) or is_eight_bit(signature.source))


def quantized(signature: CallSignature) -> bool:
    """The input is float32, the output int8 or uint8."""
    return is_float(signature.source) and is_eight_bit(signature.output)


def dequantized(signature: CallSignature) -> bool:
    """The input is int8 or uint8, the output float32."""
    return is_eight_bit(signature.source) and is_float(signature.output)


def scaled_by_channel(signature: CallSignature) -> bool:
    """The input has a scale and a zero point for each of its last axis."""
    return signature.source.quantization is not None and signature.source.quantization.scale.size > 1


def to_one_scale(signature: CallSignature) -> bool:
    """The input is uint8, and the output is int8 or int16 with one scale."""
    quantization = signature.output.quantization
    signed = signature.source.dtype == "uint8" and signature.output.dtype in ("int8", "int16")
    return signed and quantization is not None and quantization.scale.size == 1


def reads_uint8(signature: CallSignature) -> bool:
    """The first input is uint8."""
    return is_eight_bit(signature.source) and signature.source.dtype == "uint8"


def joins_channels(signature: CallSignature) -> bool:
    """The CONCATENATION is along the last axis, of quantized and non-constant inputs."""
    tensors = (*signature.reads, signature.output)
    last = signature.operator.attributes["axis"] % len(signature.output.shape) == len(signature.output.shape) - 1
    is_quantized = all(tensor.quantization is not None for tensor in tensors)
    return last and is_quantized and len(signature.reads) == len(signature.inputs)


def reads_int8(signature: CallSignature) -> bool:
    """The first input is int8 of 8 bits."""
    return is_int8(signature.source)


def reads_low_bit(signature: CallSignature) -> bool:
    """The first input is signed, of at most 16 bits, and not of 8."""
    return is_low_bit(signature.source)


def whole_bytes_throughout(signature: CallSignature) -> bool:
    """The elements of the non-constant inputs and the output fill the bytes of their types."""
    return is_of_whole_bytes(*signature.reads, signature.output)
