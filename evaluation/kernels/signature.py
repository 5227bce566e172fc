"""Properties of a call by which its kernel is selected: operators, types and shapes of tensors, format of weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.graph import Operator, Tensor


@dataclass(frozen=True, eq=False)
class CallSignature:
    """A kernel call before a kernel is selected."""

    operators: tuple[Operator, ...]
    """The operators of the call, several if fused."""
    inputs: tuple[Tensor | None, ...]
    """Inputs of the first operator, constants included; None for an omitted one."""
    output: Tensor
    """The first output of the last operator."""
    is_packed: bool
    """Whether the weights are narrower than their type or stored sparse, so that they are unpacked into scratch."""
    sums_image: bool
    """Whether it sums over all rows and columns of an image, channel by channel."""

    @property
    def operator(self) -> Operator:
        return self.operators[0]

    @property
    def reads(self) -> tuple[Tensor, ...]:
        """The non-constant inputs, in order."""
        return tuple(tensor for tensor in self.inputs if tensor is not None and not tensor.is_constant)

    @property
    def source(self) -> Tensor:
        """The first non-constant input; the output without one."""
        return next(iter(self.reads), self.output)

    def required(self, position: int) -> Tensor:
        """The input at a position; the output if it is omitted."""
        tensor = self.inputs[position] if position < len(self.inputs) else None
        return self.output if tensor is None else tensor


def is_float(*tensors: Tensor) -> bool:
    """Whether all are float32."""
    return all((tensor.dtype, tensor.bits) == ("float32", 32) for tensor in tensors)


def is_int8(*tensors: Tensor) -> bool:
    """Whether all are int8 values of 8 bits."""
    return all((tensor.dtype, tensor.bits) == ("int8", 8) for tensor in tensors)


def is_eight_bit(*tensors: Tensor) -> bool:
    """Whether each is int8 or uint8, of 8 bits."""
    return all(tensor.dtype in ("int8", "uint8") and tensor.bits == 8 for tensor in tensors)


def is_eight_bit_alike(*tensors: Tensor) -> bool:
    """Whether all are int8 or all are uint8, of 8 bits."""
    return is_eight_bit(*tensors) and len({tensor.dtype for tensor in tensors}) == 1


def is_signed(*tensors: Tensor) -> bool:
    """Whether all are signed integers of at most 16 bits."""
    return all(tensor.dtype in ("int8", "int16") for tensor in tensors)


def is_low_bit(*tensors: Tensor) -> bool:
    """Whether all are signed integers of at most 16 bits, and not all of 8, which have faster kernels."""
    return is_signed(*tensors) and any(tensor.bits != 8 for tensor in tensors)


def is_int16(*tensors: Tensor) -> bool:
    """Whether all are int16."""
    return all((tensor.dtype, tensor.bits) == ("int16", 16) for tensor in tensors)


def is_subbyte(*tensors: Tensor) -> bool:
    """Whether all are signed integers of fewer than 8 bits, which are packed."""
    return all(tensor.dtype == "int8" and tensor.bits < 8 for tensor in tensors)


def is_of_whole_bytes(*tensors: Tensor) -> bool:
    """Whether elements fill the bytes of their type."""
    return all(tensor.bits == 8 * np.dtype(tensor.dtype).itemsize for tensor in tensors)


def has_one_result(source: Tensor, weights: Tensor) -> bool:
    """Whether the input of a FULLY_CONNECTED is a single vector."""
    return source.elements == weights.shape[1]


def is_in_groups(source: Tensor, weights: Tensor) -> bool:
    """Whether a CONV_2D has several groups."""
    return source.shape[-1] != weights.shape[-1]


def has_zero_points(weights: Tensor) -> bool:
    """Whether weights have zero points other than 0."""
    return weights.quantization is not None and bool(weights.quantization.zero_point.any())
