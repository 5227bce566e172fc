"""What the choice of a kernel depends on: a call's operators, their tensors' types and shapes, the weights' format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.graph import Operator, Tensor


@dataclass(frozen=True, eq=False)
class CallSignature:
    """A kernel call before a kernel is chosen."""

    operators: tuple[Operator, ...]
    """One, or several that are fused."""
    inputs: tuple[Tensor | None, ...]
    """Of the first operator, constants included; None for one that is left out."""
    output: Tensor
    """The first output of the last operator."""
    is_packed: bool
    """Whether the weights are narrower than their type or stored sparse, and so come through scratch."""
    sums_image: bool
    """Whether it sums over all rows and columns of an image, channel by channel."""

    @property
    def operator(self) -> Operator:
        return self.operators[0]

    @property
    def reads(self) -> tuple[Tensor, ...]:
        """The inputs that are not constant, in order."""
        return tuple(tensor for tensor in self.inputs if tensor is not None and not tensor.is_constant)

    @property
    def source(self) -> Tensor:
        """The first input that is not constant; the output where all are."""
        return next(iter(self.reads), self.output)

    def required(self, position: int) -> Tensor:
        """The input at a position; the output where it is left out."""
        tensor = self.inputs[position] if position < len(self.inputs) else None
        return self.output if tensor is None else tensor


def is_float(*tensors: Tensor) -> bool:
    """Whether all are float32."""
    return all((tensor.dtype, tensor.bits) == ("float32", 32) for tensor in tensors)


def is_int8(*tensors: Tensor) -> bool:
    """Whether all are int8 values of 8 bits."""
    return all((tensor.dtype, tensor.bits) == ("int8", 8) for tensor in tensors)


def is_eight_bit(*tensors: Tensor) -> bool:
    """Whether all are int8 or uint8 values of 8 bits, of either type."""
    return all(tensor.dtype in ("int8", "uint8") and tensor.bits == 8 for tensor in tensors)


def is_eight_bit_alike(*tensors: Tensor) -> bool:
    """Whether all are values of 8 bits of one type."""
    return is_eight_bit(*tensors) and len({tensor.dtype for tensor in tensors}) == 1


def is_signed(*tensors: Tensor) -> bool:
    """Whether all are signed integers of at most 16 bits."""
    return all(tensor.dtype in ("int8", "int16") for tensor in tensors)


def is_low_bit(*tensors: Tensor) -> bool:
    """Whether all are signed integers of at most 16 bits, and not all of 8: those have faster kernels."""
    return is_signed(*tensors) and any(tensor.bits != 8 for tensor in tensors)


def is_of_whole_bytes(*tensors: Tensor) -> bool:
    """Whether elements are stored in the whole bytes of their type."""
    return all(tensor.bits == 8 * np.dtype(tensor.dtype).itemsize for tensor in tensors)


def has_one_result(source: Tensor, weights: Tensor) -> bool:
    """Whether a FULLY_CONNECTED multiplies its weights by one vector, not by several."""
    return source.elements == weights.shape[1]


def is_in_groups(source: Tensor, weights: Tensor) -> bool:
    """Whether each output channel of a CONV_2D reads some of the input's channels only."""
    return source.shape[-1] != weights.shape[-1]


def has_zero_points(weights: Tensor) -> bool:
    """Whether weights have zero points other than 0."""
    return weights.quantization is not None and bool(weights.quantization.zero_point.any())
