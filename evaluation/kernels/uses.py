"""Which kernels of the C program a network may call, from operators and types alone.

The emitter (`deeplab/runtime/layers`) decides by the same properties; where several kernels are possible all of them
are given, so that what is derived for all of them holds for the one that is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.graph import Graph, Tensor
from evaluation.kernels.contract import KernelCall
from evaluation.kernels.stack_bounds import KernelUse
from evaluation.kernels.weights import multiplies_bytes, needs_unpacking

COPY = KernelUse("copy", 2)
"""Of rows that are kept for the next tile."""
_MOVED = ("strided",)
_ANY_TYPE = {
    **dict.fromkeys(("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT"), _MOVED),
    "MIRROR_PAD": ("mirror_pad",),
    "PAD": ("pad",),
    "PADV2": ("pad",),
    "DEPTH_TO_SPACE": ("depth_to_space",),
    "SPACE_TO_DEPTH": ("space_to_depth",),
    "RESIZE_NEAREST_NEIGHBOR": ("resize_nearest",),
    "DEQUANTIZE": ("dequantize",),
}
"""Kernels that take elements of any type."""
_FLOAT = {
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "PRELU"), ("float_binary",)),
    **dict.fromkeys(
        ("RELU", "RELU6", "RELU_N1_TO_1", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "TANH"), ("float_unary",)
    ),
    "SOFTMAX": ("float_softmax",),
    "ARG_MAX": ("float_argmax",),
    "AVERAGE_POOL_2D": ("float_pool", "float_global_mean"),
    "MAX_POOL_2D": ("float_pool",),
    "MEAN": ("float_mean", "float_global_mean"),
    "SUM": ("float_mean", "float_global_mean"),
    "RESIZE_BILINEAR": ("float_resize_bilinear",),
    "RESIZE_BILINEAR+ARG_MAX": ("float_resize_argmax",),
    "CONCATENATION": ("join",),
    "QUANTIZE": ("quantize_real",),
}
_BYTES = {
    "ADD": ("add", "broadcast"),
    **dict.fromkeys(("SUB", "MUL", "MINIMUM", "MAXIMUM", "PRELU"), ("broadcast",)),
    **dict.fromkeys(("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU"), ("table",)),
    **dict.fromkeys(("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1"), ("requantize", "low_bit_requantize")),
    "SOFTMAX": ("softmax",),
    "ARG_MAX": ("argmax",),
    "AVERAGE_POOL_2D": ("average_pool", "global_pool", "running_sums", "axis_sums"),
    "MAX_POOL_2D": ("max_pool",),
    "MEAN": ("global_pool", "running_sums", "axis_sums"),
    "SUM": ("running_sums", "axis_sums"),
    "CONCATENATION": ("join",),
}
_NARROW = {
    "ADD": ("low_bit_add",),
    **dict.fromkeys(("QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1"), ("low_bit_requantize",)),
    "CONCATENATION": ("low_bit_concatenation", "join"),
    "AVERAGE_POOL_2D": ("low_bit_pool", "low_bit_window_pool"),
    "MAX_POOL_2D": ("low_bit_window_pool",),
    "MEAN": ("low_bit_pool",),
    "RESIZE_BILINEAR": ("low_bit_resize",),
    "RESIZE_BILINEAR+ARG_MAX": ("low_bit_resize_argmax",),
}
_FLOAT_PRODUCTS = {
    "CONV_2D": "convolution",
    "DEPTHWISE_CONV_2D": "depthwise",
    "TRANSPOSE_CONV": "transposed",
    "FULLY_CONNECTED": "fully_connected",
}
_DIRECT = {
    "CONV_2D": "uint8_convolution",
    "DEPTHWISE_CONV_2D": "uint8_depthwise",
    "TRANSPOSE_CONV": "uint8_transposed",
    "FULLY_CONNECTED": "uint8_fully_connected",
}
_UNKNOWN = ("",)
"""Of an operator without a kernel: its stack counts as the largest of all."""


def kernel_uses(graph: Graph, calls: Sequence[KernelCall]) -> frozenset[KernelUse]:
    """The kernels that these calls, and copies between tiles, may run."""
    uses = {COPY}
    for call in calls:
        uses |= {KernelUse(kernel, len(call.reads) + len(call.writes)) for kernel in kernels_of(graph, call)}
    return frozenset(uses)


def kernels_of(graph: Graph, call: KernelCall) -> tuple[str, ...]:
    """C names of the kernels that may run a call."""
    kind = "+".join(graph.operators[index].kind for index in call.operators)
    if kind in _DIRECT:
        return _products(graph, call.operators[0])
    values = (*call.reads, graph.operators[call.operators[-1]].outputs[0])
    tensors = [graph.tensors[value % len(graph.tensors)] for value in values]
    source = tensors[0]
    if kind in _ANY_TYPE:
        return _ANY_TYPE[kind]
    if source.dtype == "float32":
        return _FLOAT.get(kind, _UNKNOWN)
    if kind.startswith("RESIZE_BILINEAR") and source.dtype == "uint8":
        return ("resize_real_argmax",) if "+" in kind else ("resize_real",)
    codes = [tensor for tensor in tensors if tensor.dtype in ("int8", "uint8", "int16")]
    if any(tensor.bits != 8 for tensor in codes):
        return _NARROW.get(kind, _BYTES.get(kind, _UNKNOWN))
    if kind.startswith("RESIZE_BILINEAR"):
        return ("resize_argmax",) if "+" in kind else ("resize_bilinear",)
    return _BYTES.get(kind, _UNKNOWN)


def _products(graph: Graph, index: int) -> tuple[str, ...]:
    """Of an operator with weights."""
    operator = graph.operators[index]
    source, weights = graph.tensors[operator.inputs[0]], graph.tensors[operator.inputs[1]]
    output = graph.tensors[operator.outputs[0]]
    is_packed = needs_unpacking(graph, index)
    if output.dtype == "float32":
        return (f"float_{'packed_' if is_packed else ''}{_FLOAT_PRODUCTS[operator.kind]}",)
    direct = _DIRECT[operator.kind]
    if operator.kind == "TRANSPOSE_CONV" or source.dtype == "uint8":
        return (direct,)
    others = (direct,) if operator.kind == "FULLY_CONNECTED" or _has_zero_points(weights) else ()
    is_depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    if all((tensor.dtype, tensor.bits) == ("int8", 8) for tensor in (source, weights, output)) and not is_packed:
        return ("depthwise" if is_depthwise else "convolution", *others)
    if multiplies_bytes(graph, index) and (is_packed or not is_depthwise):
        return ("packed_depthwise" if is_depthwise else "packed_convolution", *others)
    return ("low_bit_depthwise" if is_depthwise else "low_bit_convolution", *others)


def _has_zero_points(tensor: Tensor) -> bool:
    return tensor.quantization is not None and bool(tensor.quantization.zero_point.any())
