"""Reading of tensors from a `.tflite` file: shape, type, quantization, and the values of constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.graph.flatbuffer import RefusedError, enum_name, length
from evaluation.graph.types import Quantization, Tensor

_MAX_ELEMENTS = 1 << 31
_MAX_RANK = 8

# TFLite TensorType -> (numpy name of the type it computes as, bits where it is stored)
_DTYPES = {
    "FLOAT32": ("float32", 32),
    "FLOAT16": ("float16", 16),
    "INT64": ("int64", 64),
    "INT32": ("int32", 32),
    "INT16": ("int16", 16),
    "INT8": ("int8", 8),
    "INT4": ("int8", 4),
    "INT2": ("int8", 2),
    "UINT8": ("uint8", 8),
    "BOOL": ("bool", 8),
}


def read_tensor(model: Any, tensor: Any, name: str, where: str, data: bytes, schema: Any) -> Tensor:
    """One tensor; `where` says in errors which one it is.

    Raises:
        RefusedError: it cannot be planned.
    """
    type_name = enum_name(schema.TensorType, tensor.Type())
    if type_name not in _DTYPES:
        raise RefusedError(f"{where} has the type {type_name}; expected one of {', '.join(sorted(_DTYPES))}")
    if tensor.IsVariable():
        raise RefusedError(f"{where} keeps state between runs; stateful networks cannot be planned")
    if tensor.Sparsity() is not None:
        raise RefusedError(f"{where} is stored sparse; convert the network with dense weights")
    rank = length(tensor.ShapeLength(), data)
    if max(rank, length(tensor.ShapeSignatureLength(), data)) > _MAX_RANK:
        raise RefusedError(f"{where} has rank {rank}; at most {_MAX_RANK} can be planned")
    shape = tuple(int(tensor.Shape(axis)) for axis in range(rank))
    signature = [int(tensor.ShapeSignature(axis)) for axis in range(tensor.ShapeSignatureLength())]
    # A batch of unknown size is run with the one image that `shape` says.
    is_empty_vector = shape == (0,)
    if not is_empty_vector and (min((*signature[1:], 1)) < 0 or min((*shape, 1)) < 1):
        raise RefusedError(f"{where} has the dynamic shape {signature or list(shape)}; convert with fixed shapes")
    if math.prod(shape) > _MAX_ELEMENTS:
        raise RefusedError(f"{where} has shape {shape}, more than 2^31 elements")
    dtype, bits = _DTYPES[type_name]
    values = _constant(model, tensor, where, shape, dtype, bits, data)
    return Tensor(name, shape, dtype, bits, _quantization(tensor, where, shape, data), values is not None, values)


def _constant(
    model: Any, tensor: Any, where: str, shape: tuple[int, ...], dtype: str, bits: int, data: bytes
) -> np.ndarray | None:
    """Values of a constant tensor, or None for an activation (buffer 0 and empty buffers hold nothing)."""
    if tensor.Buffer() == 0:
        return None
    if tensor.Buffer() >= length(model.BuffersLength(), data):
        raise IndexError(f"{where} names buffer {tensor.Buffer()} of {model.BuffersLength()}")
    buffer = model.Buffers(tensor.Buffer())
    if buffer.Offset() > 1:
        raise RefusedError(f"{where} keeps its values outside the flatbuffer; convert with the values inside")
    if length(buffer.DataLength(), data) == 0:
        return None
    raw = np.asarray(buffer.DataAsNumpy(), np.uint8)
    elements = math.prod(shape)
    if raw.size != (elements * bits + 7) // 8:
        raise ValueError(f"{where} of shape {shape} should have {(elements * bits + 7) // 8} bytes, has {raw.size}")
    if bits < 8:
        values = unpack_values(raw, bits, elements)
    else:
        values = np.frombuffer(raw.tobytes(), np.dtype(dtype).newbyteorder("<")).astype(dtype)
    values = values.reshape(shape)
    values.flags.writeable = False
    return values


def unpack_values(raw: npt.NDArray[np.uint8], bits: int, elements: int) -> npt.NDArray[np.int8]:
    """Sign-extended int8 values of densely packed `bits`-wide ones, the first in the low bits of the first byte."""
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    fields = (raw[:, None] >> shifts) & ((1 << bits) - 1)
    values = fields.reshape(-1)[:elements].astype(np.int8)
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(np.int8)


def _quantization(tensor: Any, where: str, shape: tuple[int, ...], data: bytes) -> Quantization | None:
    quantization = tensor.Quantization()
    if quantization is None or length(quantization.ScaleLength(), data) == 0:
        return None
    channels = quantization.ScaleLength()
    scale = np.array(quantization.ScaleAsNumpy(), np.float32)
    points = length(quantization.ZeroPointLength(), data)
    if points not in (0, 1, channels):
        raise RefusedError(f"{where} has {channels} scales but {points} zero points; expected as many, one or none")
    zero_point = np.array(quantization.ZeroPointAsNumpy() if points else [0], np.int64)
    zero_point = np.broadcast_to(zero_point, scale.shape).copy()
    if channels == 1:
        return Quantization(scale, zero_point)
    axis = quantization.QuantizedDimension()
    if not 0 <= axis < len(shape) or shape[axis] != channels:
        raise RefusedError(
            f"{where} has {channels} scales along dimension {axis} of shape {shape}; "
            "quantized_dimension must name a dimension with one scale for each entry"
        )
    return Quantization(scale, zero_point, axis)
