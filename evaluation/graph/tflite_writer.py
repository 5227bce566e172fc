"""Write a `Graph` as a `.tflite` file, so that LiteRT, TFLM and every tool that reads TFLite take it.

The file holds the content of the graph and nothing else: options and types as in the schema (`schema.fbs`), each
operator with the version from which runtimes know its types (tensorflow/lite/tools/versioning/op_version.cc), constants
aligned to 16 bytes. 4-bit kernels are stored as INT4, two to a byte; other kernels below 8 bits as INT8, since the
format has no narrower type that kernels read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError
from evaluation.graph.padding import with_padding_operators
from evaluation.graph.types import ABSENT, Graph, Operator, Tensor

BUFFER_ALIGNMENT = 16
"""Bytes, `force_align` of a buffer's data in schema.fbs."""
_PACKED_BITS = 4
_OPTIONS = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "ARG_MIN": "ArgMinOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "CUMSUM": "CumsumOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "LEAKY_RELU": "LeakyReluOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MIRROR_PAD": "MirrorPadOptions",
    "MUL": "MulOptions",
    "ONE_HOT": "OneHotOptions",
    "PACK": "PackOptions",
    "REDUCE_ALL": "ReducerOptions",
    "REDUCE_ANY": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "REDUCE_PROD": "ReducerOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SHAPE": "ShapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SPACE_TO_DEPTH": "SpaceToDepthOptions",
    "SPLIT": "SplitOptions",
    "SPLIT_V": "SplitVOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "UNPACK": "UnpackOptions",
}
"""Option table of each kind that has one."""
_WINDOWS = {
    "stride": ("strideH", "strideW"),
    "dilation": ("dilationHFactor", "dilationWFactor"),
    "filter": ("filterHeight", "filterWidth"),
}

# kind -> (version for int8 activations, for int16 activations)
_VERSIONS = {
    "CONV_2D": (3, 4),
    "DEPTHWISE_CONV_2D": (3, 5),
    "ADD": (2, 3),
    "CONCATENATION": (2, 3),
    "AVERAGE_POOL_2D": (2, 3),
    "MAX_POOL_2D": (2, 3),
    "RESIZE_BILINEAR": (2, 4),
    "ARG_MAX": (2, 1),
    "DEQUANTIZE": (2, 3),
}
_VERSION_OF_BROADCAST = 2
_VERSION_WITH_PACKED_KERNEL = 7
_VERSION_WITH_HALF_PIXELS = 3
_VERSION_WITH_DILATION = 2
_VERSION_TO_INT16 = 2


def write_tflite(graph: Graph) -> bytes:
    """The graph as the bytes of a `.tflite` file; `read_tflite` gives the same graph back, but for explicit padding,
    which is written as a PAD.

    Raises:
        UserError: a constant has no values yet, or a type that the format does not have.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    graph = with_padding_operators(graph)
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, graph.name
    model.subgraphs, model.operatorCodes, model.buffers = [subgraph], [], [AlignedBuffer(schema.BufferT())]
    subgraph.name, subgraph.inputs, subgraph.outputs = "main", list(graph.inputs), list(graph.outputs)
    packed = _packed_kernels(graph)
    subgraph.tensors = [
        _tensor(tensor, index in packed, graph.name, model, schema) for index, tensor in enumerate(graph.tensors)
    ]
    codes: dict[tuple[str, int], int] = {}
    subgraph.operators = []
    for operator in graph.operators:
        key = operator.kind, _version(operator, graph, packed)
        if key not in codes:
            codes[key] = len(codes)
            model.operatorCodes.append(_operator_code(*key, graph.name, schema))
        entry = schema.OperatorT()
        entry.opcodeIndex = codes[key]
        entry.inputs, entry.outputs = list(operator.inputs), list(operator.outputs)
        if operator.kind in _OPTIONS:
            entry.builtinOptions = _options(operator, graph.tensors[operator.outputs[0]], schema)
            entry.builtinOptionsType = getattr(schema.BuiltinOptions, _OPTIONS[operator.kind])
        subgraph.operators.append(entry)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class AlignedBuffer:
    """A constant's bytes, packed at a multiple of 16 as schema.fbs asks (`force_align`); the generated Python does not,
    and kernels that read whole words from such a file may fault."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def Pack(self, builder: Any) -> int:  # noqa: N802 (the name that the generated code calls)
        from ai_edge_litert import schema_py_generated as schema

        vector = None
        if self.buffer.data is not None and len(self.buffer.data):
            values = np.asarray(self.buffer.data, np.uint8).tobytes()
            builder.StartVector(1, len(values), BUFFER_ALIGNMENT)
            builder.head -= len(values)
            builder.Bytes[builder.head : builder.head + len(values)] = values
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        end: int = schema.BufferEnd(builder)
        return end


def pack_values(values: npt.NDArray[np.integer[Any]], bits: int) -> npt.NDArray[np.uint8]:
    """uint8: signed values of `bits` (2 or 4) each, packed densely, the first in the low bits of the first byte."""
    per_byte = 8 // bits
    fields = np.zeros(-(-values.size // per_byte) * per_byte, np.uint8)
    fields[: values.size] = values.reshape(-1).astype(np.int8).view(np.uint8) & ((1 << bits) - 1)
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    packed: npt.NDArray[np.uint8] = np.bitwise_or.reduce(fields.reshape(-1, per_byte) << shifts, axis=1)
    return packed.astype(np.uint8)


def _packed_kernels(graph: Graph) -> set[int]:
    """The kernels that are stored two values to a byte."""
    kernels = {
        operator.inputs[1]
        for operator in graph.operators
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and len(operator.inputs) > 1
    }
    return {index for index in kernels if index != ABSENT and graph.tensors[index].bits == _PACKED_BITS}


def _tensor(tensor: Tensor, is_packed: bool, network: str, model: Any, schema: Any) -> Any:
    entry = schema.TensorT()
    entry.name, entry.shape, entry.buffer = tensor.name, list(tensor.shape), 0
    kind = f"INT{_PACKED_BITS}" if is_packed else tensor.dtype.upper()
    if not hasattr(schema.TensorType, kind):
        raise UserError(f"{network}: tensor {tensor.name} is {tensor.dtype}, which .tflite does not have")
    entry.type = getattr(schema.TensorType, kind)
    if tensor.is_constant:
        if tensor.data is None:
            raise UserError(f"{network}: {tensor.name} has no values yet; train or quantize the network first")
        buffer = schema.BufferT()
        values = np.ascontiguousarray(tensor.data)
        buffer.data = pack_values(values, _PACKED_BITS) if is_packed else np.frombuffer(values.tobytes(), np.uint8)
        entry.buffer = len(model.buffers)
        model.buffers.append(AlignedBuffer(buffer))
    if tensor.quantization is not None:
        entry.quantization = schema.QuantizationParametersT()
        entry.quantization.scale = tensor.quantization.scale.tolist()
        entry.quantization.zeroPoint = tensor.quantization.zero_point.tolist()
        entry.quantization.quantizedDimension = tensor.quantization.axis or 0
    return entry


def _operator_code(kind: str, version: int, network: str, schema: Any) -> Any:
    if not hasattr(schema.BuiltinOperator, kind):
        raise UserError(f"{network}: the operator {kind} is no builtin of TFLite")
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    return code


def _version(operator: Operator, graph: Graph, packed: set[int]) -> int:
    """The lowest version of the operator that knows its types and options."""
    if not operator.inputs or operator.inputs[0] == ABSENT:
        return 1
    source, result = graph.tensors[operator.inputs[0]].dtype, graph.tensors[operator.outputs[0]].dtype
    if operator.kind == "QUANTIZE":
        return _VERSION_TO_INT16 if result == "int16" else 1
    if len(operator.inputs) > 1 and operator.inputs[1] != ABSENT and operator.inputs[1] in packed:
        return _VERSION_WITH_PACKED_KERNEL
    if operator.kind == "BROADCAST_TO":
        return _VERSION_OF_BROADCAST
    of_int8, of_int16 = _VERSIONS.get(operator.kind, (1, 1))
    version = {"int8": of_int8, "int16": of_int16}.get(source, 1)
    if operator.kind == "RESIZE_BILINEAR" and operator.attributes.get("half_pixel_centers"):
        return max(version, _VERSION_WITH_HALF_PIXELS)
    if operator.kind == "DEPTHWISE_CONV_2D" and max(operator.attributes.get("dilation", (1,))) > 1:
        return max(version, _VERSION_WITH_DILATION)
    return version


def _options(operator: Operator, result: Tensor, schema: Any) -> Any:
    """The option table, from the attributes that are its fields; others are constant inputs."""
    options = getattr(schema, f"{_OPTIONS[operator.kind]}T")()
    for name, value in operator.attributes.items():
        if name in _WINDOWS:
            for field, size in zip(_WINDOWS[name], value, strict=True):
                setattr(options, field, size)
        elif name == "padding":
            options.padding = getattr(schema.Padding, value)
        elif name == "activation":
            options.fusedActivationFunction = getattr(schema.ActivationFunctionType, value)
        elif hasattr(options, _camel(name)):
            setattr(options, _camel(name), value)
    if operator.kind in ("ARG_MAX", "ARG_MIN"):
        options.outputType = getattr(schema.TensorType, result.dtype.upper())
    return options


def _camel(name: str) -> str:
    """`half_pixel_centers` -> `halfPixelCenters`, as the generated Python names fields."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
