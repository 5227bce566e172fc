"""Graphs written as `.tflite` files, so that LiteRT can run what a test has put together."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from evaluation.graph import Graph, Operator

OPTIONS = {
    "CONV_2D": schema.Conv2DOptionsT,
    "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptionsT,
    "FULLY_CONNECTED": schema.FullyConnectedOptionsT,
    "AVERAGE_POOL_2D": schema.Pool2DOptionsT,
    "MAX_POOL_2D": schema.Pool2DOptionsT,
    "ADD": schema.AddOptionsT,
    "SUB": schema.SubOptionsT,
    "MUL": schema.MulOptionsT,
    "CONCATENATION": schema.ConcatenationOptionsT,
    "RESIZE_BILINEAR": schema.ResizeBilinearOptionsT,
    "MEAN": schema.ReducerOptionsT,
    "SUM": schema.ReducerOptionsT,
    "SOFTMAX": schema.SoftmaxOptionsT,
    "ARG_MAX": schema.ArgMaxOptionsT,
    "ARG_MIN": schema.ArgMinOptionsT,
    "BATCH_MATMUL": schema.BatchMatMulOptionsT,
    "CUMSUM": schema.CumsumOptionsT,
    "DEPTH_TO_SPACE": schema.DepthToSpaceOptionsT,
    "DIV": schema.DivOptionsT,
    "GATHER": schema.GatherOptionsT,
    "L2_NORMALIZATION": schema.L2NormOptionsT,
    "L2_POOL_2D": schema.Pool2DOptionsT,
    "LEAKY_RELU": schema.LeakyReluOptionsT,
    "MAXIMUM": schema.MaximumMinimumOptionsT,
    "MINIMUM": schema.MaximumMinimumOptionsT,
    "MIRROR_PAD": schema.MirrorPadOptionsT,
    "ONE_HOT": schema.OneHotOptionsT,
    "PACK": schema.PackOptionsT,
    "REDUCE_ALL": schema.ReducerOptionsT,
    "REDUCE_ANY": schema.ReducerOptionsT,
    "REDUCE_MAX": schema.ReducerOptionsT,
    "REDUCE_MIN": schema.ReducerOptionsT,
    "REDUCE_PROD": schema.ReducerOptionsT,
    "RESIZE_NEAREST_NEIGHBOR": schema.ResizeNearestNeighborOptionsT,
    "SHAPE": schema.ShapeOptionsT,
    "SPACE_TO_DEPTH": schema.SpaceToDepthOptionsT,
    "SPLIT": schema.SplitOptionsT,
    "SPLIT_V": schema.SplitVOptionsT,
    "STRIDED_SLICE": schema.StridedSliceOptionsT,
    "TRANSPOSE_CONV": schema.TransposeConvOptionsT,
    "UNPACK": schema.UnpackOptionsT,
}
FIRST_VERSION = {"BROADCAST_TO": 2}
FIELDS = {"align_corners": "alignCorners", "half_pixel_centers": "halfPixelCenters", "keep_dims": "keepDims"}
FIELDS |= {"depth_multiplier": "depthMultiplier", "block_size": "blockSize", "values_count": "valuesCount"}
FIELDS |= {"num_splits": "numSplits", "batch_dims": "batchDims", "adj_x": "adjX", "adj_y": "adjY"}
FIELDS |= {"output_type": "outputType", "out_type": "outType"}
FIELDS |= {name: name for name in ("alpha", "axis", "beta", "num", "offset", "mode")}
FIELDS |= {f"{name}_mask": f"{name}Mask" for name in ("begin", "end", "ellipsis")}
FIELDS |= {"new_axis_mask": "newAxisMask", "shrink_axis_mask": "shrinkAxisMask", "keep_num_dims": "keepNumDims"}


def write_tflite(graph: Graph) -> bytes:
    """The graph as a flatbuffer."""
    model, subgraph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [subgraph], [schema.BufferT()], []
    subgraph.tensors, subgraph.operators = [], []
    subgraph.inputs, subgraph.outputs = list(graph.inputs), list(graph.outputs)
    for tensor in graph.tensors:
        entry = schema.TensorT()
        entry.name, entry.shape, entry.buffer = tensor.name, list(tensor.shape), 0
        entry.type = getattr(schema.TensorType, tensor.dtype.upper())
        if tensor.is_constant:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(tensor.data).tobytes(), np.uint8)
            entry.buffer = len(model.buffers)
            model.buffers.append(buffer)
        if tensor.quantization is not None:
            entry.quantization = schema.QuantizationParametersT()
            entry.quantization.scale = tensor.quantization.scale.tolist()
            entry.quantization.zeroPoint = tensor.quantization.zero_point.tolist()
            entry.quantization.quantizedDimension = tensor.quantization.axis or 0
        subgraph.tensors.append(entry)
    for operator in graph.operators:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, operator.kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), FIRST_VERSION.get(operator.kind, 1)
        entry = schema.OperatorT()
        entry.opcodeIndex = len(model.operatorCodes)
        model.operatorCodes.append(code)
        entry.inputs, entry.outputs = list(operator.inputs), list(operator.outputs)
        if operator.kind in OPTIONS:
            entry.builtinOptions = _options(operator)
            name = OPTIONS[operator.kind].__name__.removesuffix("T")
            entry.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        subgraph.operators.append(entry)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _options(operator: Operator):
    options = OPTIONS[operator.kind]()
    for name, value in operator.attributes.items():
        if name in ("stride", "dilation", "filter"):
            prefix = {"stride": "stride", "dilation": "dilation", "filter": "filter"}[name]
            high, wide = ("H", "W") if name == "stride" else ("HFactor", "WFactor")
            high, wide = ("Height", "Width") if name == "filter" else (high, wide)
            setattr(options, prefix + high, value[0])
            setattr(options, prefix + wide, value[1])
        elif name == "padding":
            options.padding = getattr(schema.Padding, value)
        elif name == "activation":
            options.fusedActivationFunction = getattr(schema.ActivationFunctionType, value)
        elif name in FIELDS and hasattr(options, FIELDS[name]):
            setattr(options, FIELDS[name], value)
    return options
