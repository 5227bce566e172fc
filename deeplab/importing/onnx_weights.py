"""Constant weights of ONNX operators, in TFLite's order.

They come as (out, in / groups, h, w), of transposed convolutions (in, out / groups, h, w), and go as (out, h, w, in /
groups), depthwise (1, h, w, channels). Quantization parameters keep the axis that they run along.
"""

from __future__ import annotations

import numpy as np

from deeplab.importing.onnx_call import Call
from deeplab.importing.onnx_values import Constant
from evaluation.graph import Quantization


def constant_weights(call: Call, rank: int, position: int = 1) -> Constant:
    """The real weights at an input of a node, in ONNX's order; refused unless they are constant and of a rank."""
    value = call.value(position)
    if not isinstance(value, Constant) or value.array.ndim != rank or value.array.size == 0:
        call.refuse(f"constant weights of rank {rank} at input {position}")
    if value.array.dtype.kind in "iub":
        call.refuse("real weights, or integers behind a DequantizeLinear")
    return value


def kernel_of(call: Call, weights: Constant, order: tuple[int, ...]) -> int:
    """The tensor of weights whose axes are put in another order."""
    moved = reordered(weights, order)
    return call.graph.constant(f"{call.node.name}/kernel", moved.array, moved.quantization)


def bias_of(call: Call, position: int, filters: int) -> int:
    """The tensor of the bias at an input of a node, zeros where it is left out."""
    values = call.optional(position, "a bias")
    if values is None:
        values = np.zeros(filters, np.float32)
    if values.size != filters:
        call.refuse(f"a bias for each of {filters} channels, not {list(values.shape)}")
    return call.graph.constant(f"{call.node.name}/bias", values.reshape(filters).astype(np.float32))


def reordered(weights: Constant, order: tuple[int, ...]) -> Constant:
    """Weights with their axes in another order."""
    kept = weights.quantization
    if kept is not None and kept.axis is not None:
        kept = Quantization(kept.scale, kept.zero_point, order.index(kept.axis))
    return Constant(weights.array.transpose(order), kept)
