"""What a network's constants take in the shipped program.

Convolution kernels are stored channel by channel. A *row* is one output channel's kernel (kh*kw*cin values; kh*kw of
a depthwise one). Fields of bits follow one another, the low bits of a byte first. Three formats, the smallest wins in
each layer, except that weights which a kernel can read as they stand stay dense unless a sparse format saves a quarter:
unpacking them takes time and scratch.

- dense: w bits a value, each row from a whole byte on; of 8-bit convolutions (not depthwise) and FULLY_CONNECTED each
  row's values are filled up to a multiple of 4, as the kernel takes them in groups;
- bitmap: one bit a value of all rows, set where it is not zero; then, from a whole byte on, those values at w bits;
- relative index: for each non-zero value a 4-bit count of the zeros before it, then w bits, running on from row to row;
  of a longer run of zeros each 16 cost a filler {15, 0}, and zeros at the end cost nothing (Han et al., Deep
  Compression, 2016, section 2).

What a kernel cannot read as it stands is unpacked into scratch: one row at a time, or, where bytes are multiplied by
bytes, the rows of as many output channels as the kernel computes together (see `unpacked_shape`).

In addition to the kernels: biases (as the graph says, int32, or int64 for 16-bit activations), requantization (an int32
multiplier and an int8 shift for each output channel, or one pair where weights are quantized per tensor), and zero
points (int16 each, of every quantized tensor an operator touches). Functions of one 8-bit code are tables of 256 bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from evaluation.graph import ABSENT, Graph, Operator, Tensor
from evaluation.kernels.targets import TFLM

MULTIPLIER_BYTES = 4 + 1
ZERO_POINT_BYTES = 2
INDEX_BITS = 4
DENSE_GROUP = 4
ROWS_TOGETHER = 16
"""Output channels that a convolution of int8 codes computes together; `LANES` of the C program's `walk.h`."""
CHANNELS_TOGETHER = 64
LONE_CHANNELS = 16
"""Channels that a depthwise convolution of bytes unpacks together; up to so many that are left over join them.
As in the C program's `packed_depthwise.c`."""
_GROUPED = ("CONV_2D", "FULLY_CONNECTED")
TABLE_BYTES = 256
_LOOKED_UP = ("LOGISTIC", "TANH", "HARD_SWISH", "LEAKY_RELU")
"""Kinds that look each 8-bit code up."""
WORTH_UNPACKING = 0.75
"""Share of the dense size that a sparse format must stay below where dense weights need no unpacking."""
_KERNELS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
"""Position of the kernel among an operator's inputs."""
_RESCALED_INPUTS = {"ADD": 3, "SUB": 3, "MUL": 1, "QUANTIZE": 1, "MEAN": 1, "PRELU": 2, "MINIMUM": 0, "MAXIMUM": 0}
"""Multipliers of kinds without a kernel: ADD rescales both inputs and the sum."""
_IN_DESCRIPTOR = {
    "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "PAD", "PADV2", "MIRROR_PAD",
    "TRANSPOSE", "MEAN", "SUM", "ARG_MAX", "ARG_MIN", "STRIDED_SLICE", "SLICE", "SPLIT", "REDUCE_MAX", "REDUCE_MIN",
}  # fmt: skip
"""Kinds whose constant inputs are parameters, counted with the operator's descriptor and not as weights."""


class Format(StrEnum):
    DENSE = "dense"
    BITMAP = "bitmap"
    RELATIVE_INDEX = "relative_index"


@dataclass(frozen=True)
class LayerStorage:
    """Bytes of one operator's constants."""

    operator: int
    format: Format
    kernel_bytes: int
    bias_bytes: int
    requantization_bytes: int
    """Multipliers, shifts and zero points."""

    @property
    def total_bytes(self) -> int:
        return self.kernel_bytes + self.bias_bytes + self.requantization_bytes


def as_stored(graph: Graph, target: str) -> Graph:
    """The graph as a target's program stores its weights.

    TFLM keeps all weights as the file has them, so that its arena holds no unpacked ones. By its accounting (the target
    `tflm`) ours are stored dense, too; otherwise the arenas of the two could not be compared.
    """
    if target != TFLM.name:
        return graph
    kernels = {
        operator.inputs[position]
        for operator in graph.operators
        if (position := _KERNELS.get(operator.kind)) is not None and position < len(operator.inputs)
    }
    tensors = tuple(
        replace(tensor, stored_dense=True) if index in kernels and tensor.is_constant else tensor
        for index, tensor in enumerate(graph.tensors)
    )
    return replace(graph, tensors=tensors)


def layer_storage(graph: Graph, index: int) -> LayerStorage:
    """How the constants of operator `index` are stored, in the smallest of the three formats."""
    operator = graph.operators[index]
    kernel_position = _KERNELS.get(operator.kind)
    chosen, kernel_bytes, bias_bytes = Format.DENSE, 0, 0
    for position, tensor_index in enumerate(operator.inputs):
        if tensor_index == ABSENT or not graph.tensors[tensor_index].is_constant or operator.kind in _IN_DESCRIPTOR:
            continue
        tensor = graph.tensors[tensor_index]
        if position == kernel_position:
            chosen, kernel_bytes = _smallest(tensor, operator)
        else:
            bias_bytes += (tensor.elements * tensor.bits + 7) // 8
    if operator.kind in _LOOKED_UP and graph.tensors[operator.outputs[0]].dtype in ("int8", "uint8"):
        kernel_bytes = TABLE_BYTES
    if kernel_position is not None and bias_bytes == 0:
        bias_bytes = _bias_of_zero_points(graph, operator, kernel_position)
    return LayerStorage(index, chosen, kernel_bytes, bias_bytes, _requantization_bytes(graph, operator))


def weights_bytes(graph: Graph) -> int:
    """Bytes of all constants in the shipped program; a kernel that two operators share is stored once."""
    seen: set[int] = set()
    total = 0
    for index, operator in enumerate(graph.operators):
        layer = layer_storage(graph, index)
        total += layer.requantization_bytes
        constants = {i for i in operator.inputs if i != ABSENT and graph.tensors[i].is_constant}
        if not constants or not constants <= seen:
            total += layer.kernel_bytes + layer.bias_bytes
        seen |= constants
    return total


def scalar_bytes(graph: Graph, index: int) -> int:
    """Codes and single multipliers of an operator: counted with the weights, stored in the operator's own constants."""
    operator = graph.operators[index]
    requantization = _requantization_bytes(graph, operator)
    if operator.kind not in _KERNELS or requantization == 0:
        return requantization
    weights = graph.tensors[operator.inputs[_KERNELS[operator.kind]]]
    channels = 0 if weights.quantization is None else weights.quantization.scale.size
    return requantization - MULTIPLIER_BYTES * channels


def needs_unpacking(graph: Graph, index: int) -> bool:
    """Whether a kernel call must first unpack weights: packed below 8 bits, widened, or stored sparse."""
    operator = graph.operators[index]
    if operator.kind not in _KERNELS:
        return False
    tensor = graph.tensors[operator.inputs[_KERNELS[operator.kind]]]
    if not tensor.is_constant:
        return False
    return _widened(tensor) or layer_storage(graph, index).format is not Format.DENSE


def unpacked_shape(graph: Graph, index: int) -> tuple[int, int]:
    """(rows, values of each) that a call has in scratch at a time; (0, 0) where it reads the weights as they stand.

    The rows of convolutions that multiply bytes are filled up to a multiple of 4 values, as such weights are where they
    need no unpacking.
    """
    if not needs_unpacking(graph, index):
        return 0, 0
    operator = graph.operators[index]
    rows, length = kernel_rows(graph.tensors[operator.inputs[_KERNELS[operator.kind]]], operator.kind)
    if not multiplies_bytes(graph, index):
        return 1, length
    if operator.kind == "DEPTHWISE_CONV_2D":
        over = rows % CHANNELS_TOGETHER
        return min(rows, CHANNELS_TOGETHER + (over if over < LONE_CHANNELS else 0)), length
    return min(rows, ROWS_TOGETHER), math.ceil(length / DENSE_GROUP) * DENSE_GROUP


def unpacked_bytes(graph: Graph, index: int) -> int:
    """Scratch for `unpacked_shape`."""
    rows, values = unpacked_shape(graph, index)
    if not rows:
        return 0
    operator = graph.operators[index]
    return rows * values * np.dtype(graph.tensors[operator.inputs[_KERNELS[operator.kind]]].dtype).itemsize


def multiplies_bytes(graph: Graph, index: int) -> bool:
    """Whether an operator's kernel computes on bytes: int8 codes by symmetric int8 weights to int8 codes.

    True of a CONV_2D and of a FULLY_CONNECTED with one result, with codes and weights of 8 bits or fewer; of a
    DEPTHWISE_CONV_2D with an output channel for each input channel, where the codes are of 8 bits.
    """
    operator = graph.operators[index]
    if operator.kind not in _KERNELS or operator.kind == "TRANSPOSE_CONV":
        return False
    source, weights = (graph.tensors[tensor] for tensor in operator.inputs[:2])
    tensors = (source, weights, graph.tensors[operator.outputs[0]])
    if any(tensor.dtype != "int8" for tensor in tensors) or not weights.is_constant:
        return False
    if weights.quantization is not None and weights.quantization.zero_point.any():
        return False
    if operator.kind == "DEPTHWISE_CONV_2D":
        return tensors[0].bits == tensors[2].bits == 8 and source.shape[-1] == weights.shape[-1]
    return operator.kind == "CONV_2D" or source.elements == weights.shape[1]


def _bias_of_zero_points(graph: Graph, operator: Operator, position: int) -> int:
    """What a layer without bias stores all the same: the input's zero point times each kernel's sum, int32 (int64 for
    16-bit activations)."""
    weights, output = graph.tensors[operator.inputs[position]], graph.tensors[operator.outputs[0]]
    if output.dtype == "float32" or not weights.is_constant:
        return 0
    return kernel_rows(weights, operator.kind)[0] * (8 if output.dtype == "int16" else 4)


def _widened(tensor: Tensor) -> bool:
    """Whether values take fewer bits where they are stored than in the type they compute in."""
    return tensor.bits != np.dtype(tensor.dtype).itemsize * 8


def kernel_rows(tensor: Tensor, kind: str) -> tuple[int, int]:
    """(rows, values in a row) of a kernel: one row for each output channel."""
    if kind == "DEPTHWISE_CONV_2D":
        return tensor.shape[-1], math.prod(tensor.shape[:-1])
    return tensor.shape[0], math.prod(tensor.shape[1:])


def _smallest(tensor: Tensor, operator: Operator) -> tuple[Format, int]:
    rows, length = kernel_rows(tensor, operator.kind)
    dense = rows * math.ceil(length * tensor.bits / 8)
    if operator.kind in _GROUPED and not _widened(tensor) and tensor.dtype == "int8":
        dense = rows * math.ceil(length / DENSE_GROUP) * DENSE_GROUP
    if tensor.stored_dense or (tensor.data is None and tensor.density >= 1.0):
        return Format.DENSE, dense
    nonzero, fillers = _counts(tensor, operator.kind, rows, length)
    bitmap = math.ceil(tensor.elements / 8) + math.ceil(nonzero * tensor.bits / 8)
    relative = math.ceil((nonzero + fillers) * (tensor.bits + INDEX_BITS) / 8)
    sizes = {Format.DENSE: dense, Format.BITMAP: bitmap, Format.RELATIVE_INDEX: relative}
    best = min(sizes, key=lambda name: (sizes[name], name is not Format.DENSE))
    if not _widened(tensor) and sizes[best] > WORTH_UNPACKING * dense:
        best = Format.DENSE
    return best, sizes[best]


def _counts(tensor: Tensor, kind: str, rows: int, length: int) -> tuple[int, int]:
    """(non-zero values, fillers) of a kernel; expected ones for a constant that has no values yet."""
    if tensor.data is None:
        nonzero = round(tensor.elements * tensor.density)
        # Zeros before a non-zero value are geometric: the chance of 16 or more in a row is (1 - density)^16.
        run = (1.0 - tensor.density) ** (1 << INDEX_BITS)
        return nonzero, math.ceil(nonzero * run / max(1.0 - run, 1e-9))
    zero = 0
    if tensor.quantization is not None and tensor.quantization.zero_point.size == 1:
        zero = int(tensor.quantization.zero_point[0])
    values = np.moveaxis(tensor.data, -1, 0) if kind == "DEPTHWISE_CONV_2D" else tensor.data
    places = np.flatnonzero(values.reshape(-1) != zero)
    gaps = np.diff(places, prepend=-1) - 1
    return int(places.size), int((gaps >> INDEX_BITS).sum())


def _requantization_bytes(graph: Graph, operator: Operator) -> int:
    quantized = [
        graph.tensors[i]
        for i in (*operator.inputs, *operator.outputs)
        if i != ABSENT and graph.tensors[i].quantization is not None and graph.tensors[i].dtype != "float32"
    ]
    activations = [tensor for tensor in quantized if not tensor.is_constant]
    if not activations:
        return 0
    zero_points = ZERO_POINT_BYTES * len(activations)
    if operator.kind in _KERNELS:
        weights = graph.tensors[operator.inputs[_KERNELS[operator.kind]]]
        if weights.quantization is None:
            return zero_points
        if weights.quantization.scale.size == 1 and weights.dtype == "uint8":
            zero_points += ZERO_POINT_BYTES
        return zero_points + MULTIPLIER_BYTES * weights.quantization.scale.size
    return zero_points + MULTIPLIER_BYTES * _RESCALED_INPUTS.get(operator.kind, 0)
