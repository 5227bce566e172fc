"""Sizes and contents of the arrays that a descriptor points to in addition to weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from evaluation.graph import Operator, Tensor
from evaluation.graph.slicing import strided_index
from evaluation.kernels.signature import CallSignature

NumberT = TypeVar("NumberT", bound=np.number[Any])
_AXIS_BYTES = 4 + 4
"""Size and step of an axis, int32."""


def moved_axes_bytes(signature: CallSignature) -> int:
    """Bytes of the axes of `strided`."""
    elements = np.empty(signature.source.shape, np.int8)  # only its strides count
    return _AXIS_BYTES * len(moved_axes(moved_parts(signature.operator, elements)[0]))


def summed_axes_bytes(signature: CallSignature) -> int:
    """Bytes of the axes of `axis_sums`."""
    return _AXIS_BYTES * len(summed_axes(signature.source.shape, signature.operator.attributes["axes"]))


def joined_bytes(signature: CallSignature) -> int:
    """Bytes of the arrays of `join`: for each input its channels (uint16) and, unless all have the output's
    quantization, its requantization: scale and offset (float32) for uint8, else multiplier (int32), shift (int8), zero
    point (int16)."""
    count = len(signature.inputs)
    if not any(differ_in_quantization(signature.reads, signature.output)):
        return 2 * count
    return (2 + (4 + 4 if signature.output.dtype == "uint8" else 4 + 1 + 2)) * count


def low_bit_joined_bytes(signature: CallSignature) -> int:
    """Bytes of the arrays of `low_bit_concatenation`: channels, multiplier, shift and zero point of each input."""
    return (2 + 4 + 1 + 2) * len(signature.inputs)


def channel_parameter_bytes(signature: CallSignature) -> int:
    """Bytes of the arrays of `dequantize_channels`: scale and zero point (float32) of each channel."""
    return (4 + 4) * signature.source.shape[-1]


def pixel_tables_bytes(signature: CallSignature) -> int:
    """Bytes of the tables of `pixel_tables`: a value of the output's type for each pixel value of each channel."""
    return 256 * signature.source.shape[-1] * np.dtype(signature.output.dtype).itemsize


def differ_in_quantization(inputs: Sequence[Tensor], output: Tensor) -> list[bool]:
    """For each input whether its scale or zero point differs from the output's; False where the output has none."""
    if output.quantization is None or output.dtype == "float32":
        return [False] * len(inputs)
    return [
        tensor.quantization is not None
        and (
            np.float32(tensor.quantization.scale[0]) != np.float32(output.quantization.scale[0])
            or int(tensor.quantization.zero_point[0]) != int(output.quantization.zero_point[0])
        )
        for tensor in inputs
    ]


def moved_parts(operator: Operator, elements: npt.NDArray[NumberT]) -> list[npt.NDArray[NumberT]]:
    """The part of the input that each output of a data-movement operator consists of: views whose strides are those
    with which the kernel reads the input.

    Args:
        operator: TRANSPOSE, SLICE, STRIDED_SLICE, SPLIT, or one that only changes the shape.
        elements: contiguous, of the input's shape.
    """
    attributes = operator.attributes
    if operator.kind == "TRANSPOSE":
        return [elements.transpose(attributes["permutation"])]
    if operator.kind == "STRIDED_SLICE":
        return [elements[strided_index(attributes)]]
    if operator.kind == "SLICE":
        sizes = zip(attributes["begin"], attributes["size"], strict=True)
        return [elements[tuple(slice(begin, None if size == -1 else begin + size) for begin, size in sizes)]]
    if operator.kind == "SPLIT":
        return np.split(elements, len(operator.outputs), axis=attributes["axis"])
    return [elements.reshape(-1)]


def moved_axes(part: npt.NDArray[NumberT]) -> list[tuple[int, int]]:
    """(size, stride in elements) of the axes of a view, without those of size 1; contiguous neighbours are merged."""
    axes: list[tuple[int, int]] = []
    for size, stride in zip(part.shape, part.strides, strict=True):
        step = stride // part.itemsize
        if size == 1:
            continue
        if axes and axes[-1][1] == size * step:
            axes[-1] = axes[-1][0] * size, step
        else:
            axes.append((size, step))
    return axes or [(1, 1)]


def summed_axes(shape: tuple[int, ...], summed: Sequence[int]) -> list[tuple[int, int]]:
    """(size, stride in the output) of the input's axes, 0 for reduced ones; neighbours of one kind are merged."""
    over = {axis % len(shape) for axis in summed}
    axes: list[tuple[int, int]] = []
    step = 1
    for axis in reversed(range(len(shape))):
        size = shape[axis]
        if size == 1:
            continue
        is_summed = axis in over
        if axes and (axes[0][1] == 0) == is_summed:
            axes[0] = axes[0][0] * size, axes[0][1]
        else:
            axes.insert(0, (size, 0 if is_summed else step))
        step *= 1 if is_summed else size
    return axes or [(1, 1)]
