"""A quantized network at other bit-widths, for memory plans before anything is trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Tensor
from evaluation.kernels.registry import entry_of
from evaluation.kernels.weights import weights_index

ACTIVATION_BITS = (2, 3, 4, 5, 6, 8, 16)
WEIGHT_BITS = (2, 3, 4, 5, 6, 8, 16)
FLOAT_BITS = 32
_FRAME_BITS = 8
"""Bits of a camera's pixels. The frame, and the output of the QUANTIZE that reads it, are never narrower."""
_INTEGERS = ("int8", "uint8", "int16")


def with_bits(graph: Graph, activation_bits: int | None = None, weight_bits: int | None = None) -> Graph:
    """The same network with activations of `activation_bits` and weights of `weight_bits`, for planning only.

    None leaves a width unchanged. Network inputs keep theirs; the output of a QUANTIZE of an input is only widened.
    Label maps are no activations. Biases are int64 with 16-bit activations, else int32. Scales and zero points are not
    changed. Weights that become narrower lose their values, which would have to be trained or rounded again, and keep
    their share of non-zero values as `density`.

    Raises:
        UserError: a width is not supported, or the network is a float one and the width is not 32.
    """
    _check(graph, "activation-bits", activation_bits, ACTIVATION_BITS)
    _check(graph, "weight-bits", weight_bits, WEIGHT_BITS)
    tensors = list(graph.tensors)
    if activation_bits not in (None, FLOAT_BITS):
        frames = set(graph.inputs)
        requantized_frames = {o.outputs[0] for o in graph.operators if o.kind == "QUANTIZE" and o.inputs[0] in frames}
        for index, tensor in enumerate(tensors):
            if _is_quantized(tensor) and not tensor.is_constant and index not in frames:
                bits = max(activation_bits, _FRAME_BITS) if index in requantized_frames else activation_bits
                tensors[index] = replace(tensor, dtype=_dtype(tensor, bits), bits=bits)
    for operator in graph.operators:
        entry, kernel = entry_of(operator.kind), weights_index(operator)
        if entry is None or kernel == ABSENT:
            continue
        if weight_bits not in (None, FLOAT_BITS) and graph.tensors[kernel].is_constant:
            tensors[kernel] = _kernel_at(graph.tensors[kernel], weight_bits)
        bias = operator.inputs[entry.bias_at] if entry.bias_at < len(operator.inputs) else ABSENT
        if activation_bits not in (None, FLOAT_BITS) and bias != ABSENT and tensors[bias].dtype in ("int32", "int64"):
            tensors[bias] = _bias_at(tensors[bias], 64 if activation_bits == 16 else 32)
    return replace(graph, tensors=tuple(tensors))


def _check(graph: Graph, option: str, bits: int | None, known: tuple[int, ...]) -> None:
    if bits is None:
        return
    if bits not in (*known, FLOAT_BITS):
        raise UserError(f"--{option} must be one of {', '.join(map(str, known))} (or 32, float), got {bits}")
    quantized = any(_is_quantized(tensor) and not tensor.is_constant for tensor in graph.tensors)
    if quantized and bits == FLOAT_BITS:
        raise UserError(f"{graph.name}: is quantized, so --{option} 32 (float) is not to be had; export it as float")
    if not quantized and bits != FLOAT_BITS:
        raise UserError(f"{graph.name}: is a float network, --{option} {bits} needs a quantized one; quantize it first")


def _is_quantized(tensor: Tensor) -> bool:
    return tensor.dtype in _INTEGERS and tensor.quantization is not None


def _dtype(tensor: Tensor, bits: int) -> str:
    if bits > 8:
        return "int16"
    return "int8" if tensor.dtype == "int16" else tensor.dtype


def _kernel_at(kernel: Tensor, bits: int) -> Tensor:
    if not _is_quantized(kernel) or bits == kernel.bits:
        return kernel
    dtype = _dtype(kernel, bits)
    if bits > kernel.bits:
        # Quantized values are unchanged: those of uint8, and its zero point, fit int16.
        return replace(kernel, dtype=dtype, bits=bits, data=None if kernel.data is None else kernel.data.astype(dtype))
    return replace(kernel, dtype=dtype, bits=bits, data=None, density=_density(kernel))


def _density(kernel: Tensor) -> float:
    if kernel.data is None or kernel.elements == 0:
        return kernel.density
    zero = kernel.required_quantization.zero_point
    # Symmetric weights have zero point 0 in all channels, uint8 ones a single zero point.
    return float(np.count_nonzero(kernel.data != int(zero[0])) / kernel.elements)


def _bias_at(bias: Tensor, bits: int) -> Tensor:
    dtype = f"int{bits}"
    if dtype == bias.dtype:
        return bias
    # Narrowed from 64 bits the values might not fit, so they are dropped; planning needs none.
    data = bias.data.astype(dtype) if bias.data is not None and bits > bias.bits else None
    return replace(bias, dtype=dtype, bits=bits, data=data)
