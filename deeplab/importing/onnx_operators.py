"""ONNX operators that are imported, and the function that converts each to operators of TFLite."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deeplab.importing import (
    onnx_channels,
    onnx_convolutions,
    onnx_elementwise,
    onnx_parts,
    onnx_pools,
    onnx_quantization,
    onnx_transposed,
)
from deeplab.importing import onnx_shapes as shapes
from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_elementwise import binary, chain, unary
from deeplab.importing.onnx_pools import global_pool, reduction
from deeplab.importing.onnx_resizes import resize
from deeplab.importing.onnx_values import Activation, Value

Conversion = Callable[[Call], Value | tuple[Value, ...]]
_REAL = (1, 10, 11, 16)
"""TensorProto's types float, float16, double and bfloat16, all of which are float32 in the file graph."""
_INTEGER_NAMES = {2: "uint8", 3: "int8", 6: "int32", 7: "int64"}


def identity(call: Call) -> Value:
    """Identity, and Dropout of a network in use."""
    value = call.inputs[0] if call.inputs else None
    if value is None:
        call.refuse("an input")
    return value


def cast(call: Call) -> Value:
    """Cast: nothing between real types, CAST between those of labels."""
    value, target = call.activation(), call.node.attribute("to")
    source = call.graph.tensors[value.tensor].dtype
    if source == "float32" and target in _REAL:
        return value
    if source == "float32" or target not in _INTEGER_NAMES:
        call.refuse("a cast between real types, or of labels to integers")
    if _INTEGER_NAMES[target] == source:
        return value
    written = call.operate("CAST", (value.tensor,), value.physical_shape, dtype=_INTEGER_NAMES[target])
    return Activation(written, value.shape, value.axes)


CONVERSIONS: Mapping[str, Conversion] = {
    "Abs": unary("ABS"),
    "Add": binary("ADD"),
    "ArgMax": onnx_channels.argmax,
    "AveragePool": onnx_pools.average_pool,
    "BatchNormalization": onnx_elementwise.batch_normalization,
    "Cast": cast,
    "Ceil": unary("CEIL"),
    "Clip": onnx_elementwise.clip,
    "Concat": onnx_parts.concat,
    "Conv": onnx_convolutions.convolution,
    "ConvTranspose": onnx_transposed.transposed_convolution,
    "DepthToSpace": onnx_channels.depth_to_space,
    "DequantizeLinear": onnx_quantization.dequantize,
    "Div": binary("DIV"),
    "Dropout": identity,
    "Elu": onnx_elementwise.elu,
    "Exp": unary("EXP"),
    "Expand": shapes.expand,
    "Flatten": shapes.flatten,
    "Floor": unary("FLOOR"),
    "Gather": onnx_parts.gather,
    "Gelu": onnx_elementwise.gelu,
    "Gemm": onnx_convolutions.general_product,
    "GlobalAveragePool": global_pool("AVERAGE_POOL_2D"),
    "GlobalMaxPool": global_pool("MAX_POOL_2D"),
    "HardSigmoid": onnx_elementwise.hard_sigmoid,
    "HardSwish": unary("HARD_SWISH"),
    "Identity": identity,
    "LeakyRelu": onnx_elementwise.leaky_relu,
    "Log": unary("LOG"),
    "LogSoftmax": onnx_channels.log_softmax,
    "MatMul": onnx_convolutions.matrix_product,
    "Max": chain("MAXIMUM"),
    "MaxPool": onnx_pools.max_pool,
    "Min": chain("MINIMUM"),
    "Mul": binary("MUL"),
    "Neg": unary("NEG"),
    "PRelu": onnx_elementwise.prelu,
    "Pad": onnx_parts.pad,
    "Pow": onnx_elementwise.power,
    "QuantizeLinear": onnx_quantization.quantize,
    "Reciprocal": onnx_elementwise.reciprocal,
    "ReduceMax": reduction("REDUCE_MAX"),
    "ReduceMean": reduction("MEAN"),
    "ReduceMin": reduction("REDUCE_MIN"),
    "ReduceSum": reduction("SUM"),
    "Relu": unary("RELU"),
    "Reshape": shapes.reshape,
    "Resize": resize,
    "Sigmoid": unary("LOGISTIC"),
    "Slice": onnx_parts.slice_,
    "Softmax": onnx_channels.softmax,
    "SpaceToDepth": onnx_channels.space_to_depth,
    "Split": onnx_parts.split,
    "Sqrt": unary("SQRT"),
    "Squeeze": shapes.squeeze,
    "Sub": binary("SUB"),
    "Sum": chain("ADD"),
    "Swish": onnx_elementwise.swish,
    "Tanh": unary("TANH"),
    "Tile": shapes.tile,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
}
"""By ONNX's name of the operator."""
