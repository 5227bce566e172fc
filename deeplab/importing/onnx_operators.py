"""ONNX operators that are imported, and the function that converts each to operators of TFLite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

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
    "Abs": partial(unary, kind="ABS"),
    "Add": partial(binary, kind="ADD"),
    "ArgMax": onnx_channels.argmax,
    "AveragePool": onnx_pools.average_pool,
    "BatchNormalization": onnx_elementwise.batch_normalization,
    "Cast": cast,
    "Ceil": partial(unary, kind="CEIL"),
    "Clip": onnx_elementwise.clip,
    "Concat": onnx_parts.concat,
    "Conv": onnx_convolutions.convolution,
    "ConvTranspose": onnx_transposed.transposed_convolution,
    "DepthToSpace": onnx_channels.depth_to_space,
    "DequantizeLinear": onnx_quantization.dequantize,
    "Div": partial(binary, kind="DIV"),
    "Dropout": identity,
    "Elu": onnx_elementwise.elu,
    "Exp": partial(unary, kind="EXP"),
    "Expand": shapes.expand,
    "Flatten": shapes.flatten,
    "Floor": partial(unary, kind="FLOOR"),
    "Gather": onnx_parts.gather,
    "Gelu": onnx_elementwise.gelu,
    "Gemm": onnx_convolutions.general_product,
    "GlobalAveragePool": partial(global_pool, kind="AVERAGE_POOL_2D"),
    "GlobalMaxPool": partial(global_pool, kind="MAX_POOL_2D"),
    "HardSigmoid": onnx_elementwise.hard_sigmoid,
    "HardSwish": partial(unary, kind="HARD_SWISH"),
    "Identity": identity,
    "LeakyRelu": onnx_elementwise.leaky_relu,
    "Log": partial(unary, kind="LOG"),
    "LogSoftmax": onnx_channels.log_softmax,
    "MatMul": onnx_convolutions.matrix_product,
    "Max": partial(chain, kind="MAXIMUM"),
    "MaxPool": onnx_pools.max_pool,
    "Min": partial(chain, kind="MINIMUM"),
    "Mul": partial(binary, kind="MUL"),
    "Neg": partial(unary, kind="NEG"),
    "PRelu": onnx_elementwise.prelu,
    "Pad": onnx_parts.pad,
    "Pow": onnx_elementwise.power,
    "QuantizeLinear": onnx_quantization.quantize,
    "Reciprocal": onnx_elementwise.reciprocal,
    "ReduceMax": partial(reduction, kind="REDUCE_MAX"),
    "ReduceMean": partial(reduction, kind="MEAN"),
    "ReduceMin": partial(reduction, kind="REDUCE_MIN"),
    "ReduceSum": partial(reduction, kind="SUM"),
    "Relu": partial(unary, kind="RELU"),
    "Reshape": shapes.reshape,
    "Resize": resize,
    "Sigmoid": partial(unary, kind="LOGISTIC"),
    "Slice": onnx_parts.slice_,
    "Softmax": onnx_channels.softmax,
    "SpaceToDepth": onnx_channels.space_to_depth,
    "Split": onnx_parts.split,
    "Sqrt": partial(unary, kind="SQRT"),
    "Squeeze": shapes.squeeze,
    "Sub": partial(binary, kind="SUB"),
    "Sum": partial(chain, kind="ADD"),
    "Swish": onnx_elementwise.swish,
    "Tanh": partial(unary, kind="TANH"),
    "Tile": shapes.tile,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.unsqueeze,
}
"""By ONNX's name of the operator."""
