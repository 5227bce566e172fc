"""Read a `.tflite` file into a `Graph`, without TensorFlow.

Only what can be planned ahead of time is accepted: one subgraph of builtin operators with constant shapes and no
state. Everything else is refused with one line that names the operator or tensor. The flatbuffer is not trusted:
vector lengths are checked against the file before they are walked, and any inconsistency the schema code runs into
is reported as a damaged file.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.errors import UserError
from evaluation.graph.attributes import AttributeRefusedError, read_attributes
from evaluation.graph.folding import fold_dequantized_constants
from evaluation.graph.shapes import check_shapes
from evaluation.graph.types import ABSENT, Graph, Operator, Quantization, Tensor

_IDENTIFIER = b"TFL3"
_MAX_ELEMENTS = 1 << 31
_DAMAGE = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, AssertionError, KeyError)

# TFLite TensorType -> (numpy name it computes as, bits where it is stored)
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
_CONTROL_FLOW = {"IF", "WHILE", "CALL", "CALL_ONCE"}
_RUN_TIME_SHAPES = {"NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "WHERE", "UNIQUE", "SEGMENT_SUM"}


class _RefusedError(Exception):
    """The file is sound but asks for something that cannot be planned."""


def read_tflite(source: Path | str | bytes, name: str | None = None) -> Graph:
    """The graph of a `.tflite` file (a path, or its bytes).

    Constants that the file stores as float16 and dequantises at run time are folded to float32 constants.

    Raises:
        UserError: the file is missing, damaged, or holds something that cannot be planned (custom operators, control
            flow, dynamic shapes, several subgraphs, sparse tensors, state, buffers outside the flatbuffer).
    """
    if isinstance(source, bytes | bytearray):
        data, name = bytes(source), name or "network"
    else:
        path = Path(source)
        name = name or path.name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); expected a .tflite file") from None
    if len(data) < 16 or data[4:8] != _IDENTIFIER:
        raise UserError(f"{name}: not a .tflite file (no {_IDENTIFIER.decode()} mark at byte 4); give a TFLite network")
    try:
        with np.errstate(all="ignore"):
            return fold_dequantized_constants(_read_model(data, name))
    except (_RefusedError, AttributeRefusedError) as refusal:
        raise UserError(f"{name}: {refusal}") from None
    except _DAMAGE as damage:
        raise UserError(
            f"{name}: truncated or damaged .tflite file ({type(damage).__name__}: {damage}); fetch or convert it again"
        ) from None


def _read_model(data: bytes, name: str) -> Graph:
    from ai_edge_litert import schema_py_generated as schema  # 50 ms, and only needed here

    model = schema.Model.GetRootAs(data, 0)
    subgraphs = _length(model.SubgraphsLength(), data)
    if subgraphs != 1:
        raise _RefusedError(f"has {subgraphs} subgraphs; only single-subgraph networks can be planned")
    subgraph = model.Subgraphs(0)
    tensors = tuple(
        _read_tensor(model, subgraph.Tensors(index), index, data, schema)
        for index in range(_length(subgraph.TensorsLength(), data))
    )
    inputs = _indices(subgraph.InputsLength(), subgraph.Inputs, len(tensors), data)
    outputs = _indices(subgraph.OutputsLength(), subgraph.Outputs, len(tensors), data)
    operators = tuple(
        _read_operator(model, subgraph.Operators(index), index, tensors, data, schema)
        for index in range(_length(subgraph.OperatorsLength(), data))
    )
    graph = Graph(Path(name).stem, tensors, operators, inputs, outputs)
    _check_order(graph)
    check_shapes(graph)
    return graph


def _read_tensor(model: Any, tensor: Any, index: int, data: bytes, schema: Any) -> Tensor:
    name = (tensor.Name() or b"").decode("utf-8", "replace") or f"tensor_{index}"
    where = f'tensor {index} "{name}"'
    type_name = _enum_name(schema.TensorType, tensor.Type())
    if type_name not in _DTYPES:
        raise _RefusedError(f"{where} has the type {type_name}; expected one of {', '.join(sorted(_DTYPES))}")
    if tensor.IsVariable():
        raise _RefusedError(f"{where} keeps state between runs; stateful networks cannot be planned")
    if tensor.Sparsity() is not None:
        raise _RefusedError(f"{where} is stored sparse; convert the network with dense weights")
    shape = tuple(int(tensor.Shape(axis)) for axis in range(_length(tensor.ShapeLength(), data)))
    signature = [int(tensor.ShapeSignature(axis)) for axis in range(_length(tensor.ShapeSignatureLength(), data))]
    # A batch of unknown size is run with the one picture that `shape` says.
    is_empty_vector = shape == (0,)
    if not is_empty_vector and (min((*signature[1:], 1)) < 0 or min((*shape, 1)) < 1):
        raise _RefusedError(f"{where} has the dynamic shape {signature or list(shape)}; convert with fixed shapes")
    if math.prod(shape) > _MAX_ELEMENTS:
        raise _RefusedError(f"{where} has shape {shape}, more than 2^31 elements")
    dtype, bits = _DTYPES[type_name]
    values = _constant(model, tensor, where, shape, dtype, bits, data)
    return Tensor(name, shape, dtype, bits, _quantization(tensor, where, shape, data), values is not None, values)


def _constant(
    model: Any, tensor: Any, where: str, shape: tuple[int, ...], dtype: str, bits: int, data: bytes
) -> np.ndarray | None:
    """Values of a constant tensor, or None for an activation (buffer 0 and empty buffers hold nothing)."""
    if tensor.Buffer() == 0:
        return None
    if tensor.Buffer() >= _length(model.BuffersLength(), data):
        raise IndexError(f"{where} names buffer {tensor.Buffer()} of {model.BuffersLength()}")
    buffer = model.Buffers(tensor.Buffer())
    if buffer.Offset() > 1:
        raise _RefusedError(f"{where} keeps its values outside the flatbuffer; convert with the values inside")
    if _length(buffer.DataLength(), data) == 0:
        return None
    raw = np.asarray(buffer.DataAsNumpy(), np.uint8)
    elements = math.prod(shape)
    if raw.size != (elements * bits + 7) // 8:
        raise ValueError(f"{where} of shape {shape} should have {(elements * bits + 7) // 8} bytes, has {raw.size}")
    if bits < 8:
        values = _unpack(raw, bits, elements)
    else:
        values = np.frombuffer(raw.tobytes(), np.dtype(dtype).newbyteorder("<")).astype(dtype)
    values = values.reshape(shape)
    values.flags.writeable = False
    return values


def _unpack(raw: np.ndarray, bits: int, elements: int) -> np.ndarray:
    """Sign-extended int8 values of densely packed `bits`-wide ones, the first in the low bits of the first byte."""
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    fields = (raw[:, None] >> shifts) & ((1 << bits) - 1)
    values = fields.reshape(-1)[:elements].astype(np.int8)
    return np.where(values >= 1 << (bits - 1), values - (1 << bits), values).astype(np.int8)


def _quantization(tensor: Any, where: str, shape: tuple[int, ...], data: bytes) -> Quantization | None:
    quantization = tensor.Quantization()
    if quantization is None or _length(quantization.ScaleLength(), data) == 0:
        return None
    channels = quantization.ScaleLength()
    scale = np.array([quantization.Scale(i) for i in range(channels)], np.float32)
    points = _length(quantization.ZeroPointLength(), data)
    if points not in (0, 1, channels):
        raise ValueError(f"{where} has {channels} scales but {points} zero points")
    zero_point = np.array([quantization.ZeroPoint(i) for i in range(points)] or [0], np.int64)
    zero_point = np.broadcast_to(zero_point, scale.shape).copy()
    if not np.all(np.isfinite(scale)) or np.any(scale < 0):
        raise ValueError(f"{where} has a scale that is negative or not finite")
    if channels == 1:
        return Quantization(scale, zero_point)
    axis = quantization.QuantizedDimension()
    if not 0 <= axis < len(shape) or shape[axis] != channels:
        raise _RefusedError(
            f"{where} has {channels} scales along dimension {axis} of shape {shape}; "
            "quantized_dimension must name a dimension with one scale for each entry"
        )
    return Quantization(scale, zero_point, axis)


def _read_operator(
    model: Any, operator: Any, index: int, tensors: tuple[Tensor, ...], data: bytes, schema: Any
) -> Operator:
    opcode = operator.OpcodeIndex()
    if opcode >= _length(model.OperatorCodesLength(), data):
        raise IndexError(f"operator {index} names operator code {opcode}")
    code = model.OperatorCodes(opcode)
    kind = _enum_name(schema.BuiltinOperator, max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
    if kind == "CUSTOM":
        custom = (code.CustomCode() or b"?").decode("utf-8", "replace")
        raise _RefusedError(
            f'operator {index} is the custom operator "{custom}"; only builtin operators can be planned'
        )
    if kind in _CONTROL_FLOW:
        raise _RefusedError(f"operator {index} is {kind}: control flow cannot be planned")
    if kind in _RUN_TIME_SHAPES:
        raise _RefusedError(f"operator {index} is {kind}: its output shape is only known at run time")
    if kind.startswith(("STABLEHLO", "DELEGATE", "PLACEHOLDER", "unknown")):
        raise _RefusedError(f"operator {index} is of the kind {kind}; convert to builtin TFLite operators")
    inputs = _indices(operator.InputsLength(), operator.Inputs, len(tensors), data, optional=True)
    outputs = _indices(operator.OutputsLength(), operator.Outputs, len(tensors), data)
    if not outputs:
        raise ValueError(f"operator {index} ({kind}) has no output")

    def constant(position: int) -> np.ndarray | None:
        return tensors[inputs[position]].data if inputs[position] != ABSENT else None

    def rank(position: int) -> int:
        return len(tensors[inputs[position]].shape)

    try:
        attributes = read_attributes(kind, _options(operator, schema), constant, rank)
    except AttributeRefusedError as refusal:
        raise _RefusedError(f"operator {index} ({kind}): {refusal}") from None
    return Operator(kind, tensors[outputs[0]].name, inputs, outputs, attributes)


def _options(operator: Any, schema: Any) -> Any | None:
    """The operator's option table, unpacked by the schema's own object class."""
    table = operator.BuiltinOptions()
    name = _enum_name(schema.BuiltinOptions, operator.BuiltinOptionsType())
    if table is None or name in ("NONE", "unknown"):
        return None
    options = getattr(schema, name)()
    options.Init(table.Bytes, table.Pos)
    unpacked = getattr(schema, f"{name}T")
    if name == "ReshapeOptions":  # its only field, the new shape, is the output's shape
        return None
    return unpacked.InitFromObj(options)


def _check_order(graph: Graph) -> None:
    """Operators must stand in an executable order, each tensor be written once, and constants never."""
    known = {index for index, tensor in enumerate(graph.tensors) if tensor.is_constant} | set(graph.inputs)
    for index, operator in enumerate(graph.operators):
        for tensor in operator.inputs:
            if tensor != ABSENT and tensor not in known:
                raise ValueError(f"operator {index} ({operator.kind}) reads tensor {tensor} before it is written")
        for tensor in operator.outputs:
            if tensor in known:
                raise ValueError(f"operator {index} ({operator.kind}) writes tensor {tensor} a second time")
            known.add(tensor)
    if not graph.inputs or not graph.outputs or any(tensor not in known for tensor in graph.outputs):
        raise ValueError("the network has no input, no output, or an output that nothing writes")


def _indices(length: int, item: Any, limit: int, data: bytes, *, optional: bool = False) -> tuple[int, ...]:
    indices = tuple(int(item(i)) for i in range(_length(length, data)))
    lowest = ABSENT if optional else 0
    if any(not lowest <= index < limit for index in indices):
        raise IndexError(f"tensor index out of range in {indices[:8]} (the file has {limit} tensors)")
    return indices


def _length(length: int, data: bytes) -> int:
    """A vector's length, once it is sure that the file is long enough to hold it."""
    if not 0 <= length <= len(data):
        raise ValueError(f"a vector claims {length} entries in a file of {len(data)} bytes")
    return length


def _enum_name(enumeration: Any, value: int) -> str:
    for name, code in vars(enumeration).items():
        if code == value and not name.startswith("_"):
            return name
    return f"unknown code {value}"
