"""The integer graph of a float network: types and bits of every tensor, before and after there are values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from deeplab.network import (
    FRAME,
    INPUT,
    constant_operands,
    convolutions,
    is_depthwise,
    tensor_indices,
    with_tensors,
)
from deeplab.quantization.activations import input_parameters, spanning
from deeplab.quantization.camera import read_by_table, whole_pixels
from deeplab.quantization.shared import is_rescaled_mean
from deeplab.quantization.types import ActivationQuantization, BitWidths
from evaluation.graph import Graph, Operator, Quantization, Tensor


@dataclass(frozen=True, eq=False)
class IntegerWeights:
    """Weights of one convolution in integers."""

    kernel: np.ndarray
    """int8 or int16 values in [-(2^(w-1) - 1), 2^(w-1) - 1], shaped as `deeplab.network.kernel`."""
    scales: np.ndarray
    """float32 (out channels,)."""
    bias: np.ndarray
    """int32, or int64 with 16-bit activations, (out channels,)."""


def integer_weights(graph: Graph, operator: Operator) -> IntegerWeights:
    """The weights of one convolution of an integer network."""
    kernel, bias = (graph.tensors[index] for index in operator.inputs[1:3])
    values = np.ascontiguousarray(kernel.required_data.transpose(1, 2, 3, 0))
    return IntegerWeights(values, kernel.required_quantization.scale, bias.required_data)


def stored_type(bits: int) -> str:
    """numpy type that quantized values of so many bits compute as."""
    return "int16" if bits == 16 else "int8"


def integer_graph(network: Graph, bits: BitWidths) -> Graph:
    """The integer network that `quantize` will give, with the types and bits of all tensors and without values: for
    planning before anything is trained. Scales are placeholders."""
    tensors = list(network.tensors)
    names = tensor_indices(network)
    placeholder = ActivationQuantization(1.0, 0, 8).parameters
    for index, width in bits.by_activation(network).items():
        tensors[index] = replace(tensors[index], dtype=stored_type(width), bits=width, quantization=placeholder)
    entry = input_parameters(network, bits)
    tensors[names[INPUT]] = replace(
        tensors[names[INPUT]], dtype=stored_type(entry.bits), bits=entry.bits, quantization=entry.parameters
    )
    by_table = read_by_table(network, bits.activations)
    pixels = network.tensors[names[FRAME]].required_quantization if by_table else whole_pixels(network)
    tensors[names[FRAME]] = replace(tensors[names[FRAME]], quantization=_by_channel(pixels) if by_table else pixels)
    if pixels.axis is not None and not by_table:
        codes = replace(pixels, zero_point=pixels.zero_point - 128)
        tensors[names[INPUT]] = replace(tensors[names[INPUT]], quantization=codes)
    widths = bits.by_kernel(network)
    for operator in convolutions(network):
        kernel, bias = operator.inputs[1:3]
        width, (channels,) = widths[operator.name], tensors[bias].shape
        scales = Quantization(np.ones(channels, np.float32), np.zeros(channels, np.int64), _axis(operator))
        tensors[kernel] = replace(tensors[kernel], dtype=stored_type(width), bits=width, quantization=scales, data=None)
        bias_bits = 64 if bits.activations == 16 else 32
        tensors[bias] = replace(tensors[bias], dtype=f"int{bias_bits}", bits=bias_bits, data=None)
        tensors[bias] = replace(tensors[bias], quantization=_bias_scales(tensors, operator))
    for operator in network.operators:
        for position in constant_operands(network, operator):
            index = operator.inputs[position]
            tensors[index] = _quantized_constant(tensors[index], tensors[operator.outputs[0]].bits)
    operators = []
    for operator in network.operators:
        if operator.kind == "DEQUANTIZE":
            operator = replace(operator, kind="QUANTIZE")
        elif is_rescaled_mean(network, operator):
            axes = np.array([1, 2], np.int32)
            tensors.append(Tensor(f"{operator.name}/axes", (2,), "int32", 32, is_constant=True, data=axes))
            inputs, attributes = (operator.inputs[0], len(tensors) - 1), {"axes": (1, 2), "keep_dims": True}
            operator = replace(operator, kind="MEAN", inputs=inputs, attributes=attributes)
        operators.append(operator)
    return replace(network, tensors=tuple(tensors), operators=tuple(operators))


def _by_channel(pixels: Quantization) -> Quantization:
    """Parameters of a frame with a scale and a zero for each channel."""
    return Quantization(np.broadcast_to(pixels.scale, (3,)).copy(), np.broadcast_to(pixels.zero_point, (3,)).copy(), 3)


def _quantized_constant(tensor: Tensor, bits: int) -> Tensor:
    """A constant operand in the type of an activation of so many bits, which holds its values and zero."""
    values = tensor.required_data.astype(np.float64)
    parameters = spanning(min(0.0, float(values.min())), max(0.0, float(values.max())), bits)
    data = np.clip(np.rint(values / parameters.scale) + parameters.zero_point, parameters.low, parameters.high)
    dtype = stored_type(bits)
    return replace(tensor, dtype=dtype, bits=bits, quantization=parameters.parameters, data=data.astype(dtype))


def with_integers(
    graph: Graph,
    weights: Mapping[str, IntegerWeights],
    activations: Mapping[int, ActivationQuantization] | None = None,
) -> Graph:
    """An integer graph with other weights, by convolution, and other parameters of activations; the rest stays."""
    tensors = list(graph.tensors)
    for index, parameters in (activations or {}).items():
        own = tensors[index].quantization
        if own is not None and own.axis is not None:
            continue  # the camera's, by channel
        tensors[index] = replace(
            tensors[index],
            dtype=stored_type(parameters.bits),
            bits=parameters.bits,
            quantization=parameters.parameters,
        )
    for operator in convolutions(graph):
        kernel, bias = operator.inputs[1:3]
        if (found := weights.get(operator.name)) is not None:
            data = np.ascontiguousarray(found.kernel.transpose(3, 0, 1, 2), tensors[kernel].dtype)
            scales = Quantization(found.scales, np.zeros(found.scales.size, np.int64), _axis(operator))
            tensors[kernel] = replace(tensors[kernel], data=data, quantization=scales)
            tensors[bias] = replace(tensors[bias], data=found.bias)
        tensors[bias] = replace(tensors[bias], quantization=_bias_scales(tensors, operator))
    return with_tensors(graph, dict(enumerate(tensors)))


def accumulator_scales(graph: Graph, operator: Operator) -> np.ndarray:
    """Scales of a convolution's accumulators, float64 (out channels,): those of its input times those of its kernel."""
    given, kernel = (graph.tensors[index].required_quantization for index in operator.inputs[:2])
    return np.asarray(np.float64(given.scale[0]) * kernel.scale)


def quantize_bias(bias: np.ndarray, scales: np.ndarray, dtype: str) -> np.ndarray:
    """Quantized values of a bias at the accumulator's scales: int32, or int64 with 16-bit activations."""
    limits = np.iinfo(dtype)
    return np.clip(np.rint(bias / scales), limits.min, limits.max).astype(dtype)


def _axis(operator: Operator) -> int:
    return 3 if is_depthwise(operator) else 0


def _bias_scales(tensors: list[Tensor], operator: Operator) -> Quantization:
    given, kernel = (tensors[index].required_quantization for index in operator.inputs[:2])
    return Quantization(kernel.scale * given.scale[0], kernel.zero_point, 0)
