"""Values of an ONNX graph while it is converted: constants in ONNX's order, activations with their tensor's layout.

An activation keeps the shape that ONNX gives it, while its tensor in the file graph has TFLite's layout. `axes` states
for each axis of the tensor which ONNX axis it is. So a Transpose, and a Reshape that moves no values, change `axes` and
the shape alone, and transpositions cancel without being looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.graph import Quantization

INSERTED = -1
"""In `axes`: an axis of size 1 of the tensor that is no axis of the ONNX value."""
NHWC = (0, 2, 3, 1)
"""`axes` of an image that ONNX has as (batch, channels, height, width)."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that is known when the file is read."""

    array: np.ndarray
    """In ONNX's order and type; real values where the file has DequantizeLinear of a constant."""
    quantization: Quantization | None = None
    """The parameters of that DequantizeLinear as int8; `axis` counts in ONNX's order."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


@dataclass(frozen=True, eq=False)
class Activation:
    """A value that is computed from the image."""

    tensor: int
    """Index in the file graph."""
    shape: tuple[int, ...]
    """As ONNX has it."""
    axes: tuple[int, ...]
    """The ONNX axis of each axis of the tensor, or INSERTED. ONNX axes that are not named have size 1."""
    stored: StoredAs | None = None
    """How the value is quantized between QuantizeLinear and DequantizeLinear."""

    @property
    def physical_shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return physical_shape(self.shape, self.axes)

    @property
    def order(self) -> list[int]:
        """The ONNX axes of more than one element, in the order of the tensor."""
        return [axis for axis in self.axes if axis != INSERTED and self.shape[axis] != 1]


@dataclass(frozen=True)
class StoredAs:
    """Parameters of a QuantizeLinear of one scale, in the file's type."""

    scale: float
    zero_point: int
    dtype: str
    """numpy name of the integer type, `int8` or `uint8` for those that a graph keeps."""

    @property
    def least(self) -> float:
        """The least real value that can be stored."""
        return self.scale * (np.iinfo(self.dtype).min - self.zero_point)

    @property
    def largest(self) -> float:
        return self.scale * (np.iinfo(self.dtype).max - self.zero_point)

    @property
    def as_int8(self) -> Quantization | None:
        """The parameters as of an int8 tensor; None for types of other widths."""
        return int8_quantization(np.float32(self.scale), np.int64(self.zero_point), self.dtype)


Value = Constant | Activation


def int8_quantization(
    scale: np.ndarray | np.generic, zero_point: np.ndarray | np.generic, dtype: str, axis: int | None = None
) -> Quantization | None:
    """The parameters of an int8 or uint8 tensor as those of an int8 one; None for any other type."""
    if dtype not in ("int8", "uint8"):
        return None
    zero = np.asarray(zero_point).reshape(-1).astype(np.int64) - (128 if dtype == "uint8" else 0)
    return Quantization(np.asarray(scale).reshape(-1).astype(np.float32), zero, axis)


def physical_shape(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, ...]:
    """Shape of the tensor of a value."""
    return tuple(1 if axis == INSERTED else shape[axis] for axis in axes)


def default_axes(rank: int) -> tuple[int, ...]:
    """The layout of a value about which nothing is known: NHWC where there are four axes, else ONNX's."""
    return NHWC if rank == 4 else as_image(range(rank))


def as_image(axes: Sequence[int]) -> tuple[int, ...]:
    """A layout with axes of size 1 before the others, so that there are four at least: kernels are made for images."""
    return (INSERTED,) * (4 - len(axes)) + tuple(axes)


def widened(value: Activation, rank: int) -> Activation:
    """The same value with axes of size 1 before its own, as broadcasting adds them."""
    added = rank - len(value.shape)
    axes = tuple(axis if axis == INSERTED else axis + added for axis in value.axes)
    return replace(value, shape=(1,) * added + value.shape, axes=axes)


def common_axes(values: Sequence[Activation], shape: Sequence[int], needed: Sequence[int] = ()) -> tuple[int, ...]:
    """A layout in which values can be combined to one of `shape`: NHWC if a value has it, or that of the first value.

    Args:
        values: all of the rank of `shape`.
        shape: of the result.
        needed: ONNX axes that the layout must name, though they have size 1.
    """
    covered = {axis for axis, size in enumerate(shape) if size != 1} | set(needed)
    fitting = [value.axes for value in values if covered <= set(value.axes)]
    default = default_axes(len(shape))
    return default if default in fitting or not fitting else fitting[0]


def arranged_constant(array: np.ndarray, rank: int, axes: Sequence[int]) -> np.ndarray:
    """A constant's array, broadcast to `rank` axes, in the layout `axes`, which must name its axes of more than one
    element."""
    wide = array.reshape((1,) * (rank - array.ndim) + array.shape)
    named = [axis for axis in axes if axis != INSERTED]
    others = [axis for axis in range(rank) if axis not in named]
    return wide.transpose(named + others).reshape(physical_shape(wide.shape, axes))


def without_leading_ones(array: np.ndarray) -> np.ndarray:
    """The array without the axes of size 1 at its front, of which broadcasting needs none."""
    kept = next((axis for axis, size in enumerate(array.shape) if size != 1), array.ndim)
    return array.reshape(array.shape[kept:])
