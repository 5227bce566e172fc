"""Storage format and bytes of a network's constants in the shipped program.

Weights are stored in rows; a *row* is the kernel of one output channel (kh*kw*cin values, kh*kw if depthwise). Bit
fields are contiguous, the low bits of a byte first. Each layer uses the smallest of three formats, except that weights
which the kernel can read in place are dense unless a sparse format saves a quarter, since unpacking takes time and
scratch. Weights of a grouped CONV_2D are always dense.

- dense: w bits for each value, each row from a whole byte on. In 8-bit convolutions (not depthwise) and FULLY_CONNECTED
  of one vector, rows are padded to a multiple of 4 values, which the kernel multiplies together;
- bitmap: a bit for each value of all rows, set where it is not zero; then, from a whole byte on, w bits for each
  non-zero value;
- relative index: for each non-zero value a 4-bit count of the zeros before it, then w bits, continued from row to row;
  in longer runs of zeros every 16 take a filler {15, 0}, and zeros at the end take nothing (Han et al., Deep
  Compression, 2016, section 2).

Weights that cannot be read in place are unpacked into scratch: one row at a time, or the rows of a block of output
channels that the kernel computes together (`Kernel.unpacked_shape`).

In addition to weights there are biases (int32, or int64 with 16-bit activations, as in the graph), requantization (an
int32 multiplier and an int8 shift for each output channel, or one pair for weights quantized per tensor), and zero
points (int16, for every quantized tensor that an operator reads or writes). Functions of one value of at most 8 bits
are tables of a byte for each value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from evaluation.graph import ABSENT, Graph, Operator, Tensor
from evaluation.kernels.constants import GROUP
from evaluation.kernels.registry import entry_of
from evaluation.kernels.signature import has_one_result, is_in_groups
from evaluation.kernels.targets import TFLM

MULTIPLIER_BYTES = 4 + 1
ZERO_POINT_BYTES = 2
INDEX_BITS = 4
WORTH_UNPACKING = 0.75
"""Largest ratio to the dense size at which a sparse format is used where dense weights are read in place."""


class Format(StrEnum):
    """Storage format of weights."""

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
    """The graph with weights marked dense where the target stores them so.

    TFLM stores all weights as in the file and has no unpacked ones in its arena. With the target `tflm` weights are
    therefore dense, so that the arenas can be compared.
    """
    if target != TFLM.name:
        return graph
    kernels = {weights_index(operator) for operator in graph.operators}
    tensors = tuple(
        replace(tensor, stored_dense=True) if index in kernels and tensor.is_constant else tensor
        for index, tensor in enumerate(graph.tensors)
    )
    return replace(graph, tensors=tensors)


def layer_storage(graph: Graph, index: int) -> LayerStorage:
    """Format and bytes of the constants of operator `index`."""
    operator = graph.operators[index]
    entry = entry_of(operator.kind)
    chosen, kernel_bytes, bias_bytes = Format.DENSE, 0, 0
    for position, tensor_index in enumerate(operator.inputs):
        if tensor_index == ABSENT or not graph.tensors[tensor_index].is_constant:
            continue
        tensor = graph.tensors[tensor_index]
        if entry is not None and position == entry.weights_at:
            chosen, kernel_bytes = _smallest(graph, tensor, operator)
        elif entry is None or entry.stores(position):
            bias_bytes += (tensor.elements * tensor.bits + 7) // 8
    if entry is not None:
        kernel_bytes += entry.table_bytes(graph.tensors[operator.inputs[0]])
    if bias_bytes == 0:
        bias_bytes = _bias_of_zero_points(graph, operator)
    return LayerStorage(index, chosen, kernel_bytes, bias_bytes, _requantization_bytes(graph, operator))


def weights_bytes(graph: Graph) -> int:
    """Bytes of all constants in the shipped program; constants that operators share are stored once."""
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
    """Bytes of an operator's zero points and single multipliers: counted with the weights, stored in its descriptor."""
    operator = graph.operators[index]
    requantization = _requantization_bytes(graph, operator)
    weights = weights_of(graph, operator)
    if weights is None or requantization == 0:
        return requantization
    channels = 0 if weights.quantization is None else weights.quantization.scale.size
    return requantization - MULTIPLIER_BYTES * channels


def needs_unpacking(graph: Graph, index: int) -> bool:
    """Whether weights are unpacked into scratch: narrower than the type they compute in, or stored sparse."""
    tensor = weights_of(graph, graph.operators[index])
    if tensor is None or not tensor.is_constant:
        return False
    return _widened(tensor) or layer_storage(graph, index).format is not Format.DENSE


def weights_index(operator: Operator) -> int:
    """Index of the tensor of an operator's weights, `ABSENT` if it has none."""
    entry = entry_of(operator.kind)
    if entry is None or entry.weights_at is None or entry.weights_at >= len(operator.inputs):
        return ABSENT
    return operator.inputs[entry.weights_at]


def weights_of(graph: Graph, operator: Operator) -> Tensor | None:
    """An operator's weights, None if it has none."""
    index = weights_index(operator)
    return None if index == ABSENT else graph.tensors[index]


def _bias_of_zero_points(graph: Graph, operator: Operator) -> int:
    """Bytes that an operator without bias stores for the input's zero point times the sum of each kernel: int32, or
    int64 with 16-bit activations."""
    weights, output = weights_of(graph, operator), graph.tensors[operator.outputs[0]]
    if weights is None or output.dtype == "float32" or not weights.is_constant:
        return 0
    return kernel_rows(weights, operator.kind)[0] * (8 if output.dtype == "int16" else 4)


def _widened(tensor: Tensor) -> bool:
    """Whether values are stored in fewer bits than the type they compute in has."""
    return tensor.bits != np.dtype(tensor.dtype).itemsize * 8


def kernel_rows(tensor: Tensor, kind: str) -> tuple[int, int]:
    """(rows, values in a row) of weights: one row for each output channel."""
    if kind == "DEPTHWISE_CONV_2D":
        return tensor.shape[-1], math.prod(tensor.shape[:-1])
    return tensor.shape[0], math.prod(tensor.shape[1:])


def _smallest(graph: Graph, tensor: Tensor, operator: Operator) -> tuple[Format, int]:
    rows, length = kernel_rows(tensor, operator.kind)
    dense = rows * math.ceil(length * tensor.bits / 8)
    if _is_filled_up(graph, operator) and not _widened(tensor) and tensor.dtype == "int8":
        dense = rows * math.ceil(length / GROUP) * GROUP
    if tensor.stored_dense or _is_in_groups(graph, operator) or (tensor.data is None and tensor.density >= 1.0):
        return Format.DENSE, dense
    nonzero, fillers = _counts(tensor, operator.kind, rows, length)
    bitmap = math.ceil(tensor.elements / 8) + math.ceil(nonzero * tensor.bits / 8)
    relative = math.ceil((nonzero + fillers) * (tensor.bits + INDEX_BITS) / 8)
    sizes = {Format.DENSE: dense, Format.BITMAP: bitmap, Format.RELATIVE_INDEX: relative}
    best = min(sizes, key=lambda name: (sizes[name], name is not Format.DENSE))
    if not _widened(tensor) and sizes[best] > WORTH_UNPACKING * dense:
        best = Format.DENSE
    return best, sizes[best]


def _is_in_groups(graph: Graph, operator: Operator) -> bool:
    """Whether an operator is a grouped CONV_2D. Its weights are dense, since sparse ones can only be read from the
    first."""
    return operator.kind == "CONV_2D" and is_in_groups(*(graph.tensors[index] for index in operator.inputs[:2]))


def _is_filled_up(graph: Graph, operator: Operator) -> bool:
    """Whether rows are padded to a multiple of 4: those of a CONV_2D, or a FULLY_CONNECTED of one vector."""
    if operator.kind == "FULLY_CONNECTED":
        return has_one_result(*(graph.tensors[index] for index in operator.inputs[:2]))
    return operator.kind == "CONV_2D"


def _counts(tensor: Tensor, kind: str, rows: int, length: int) -> tuple[int, int]:
    """(non-zero values, fillers) of weights; expected numbers for weights without values."""
    if tensor.data is None:
        nonzero = round(tensor.elements * tensor.density)
        # The number of zeros before a non-zero value is geometric: 16 or more have probability (1 - density)^16.
        run = (1.0 - tensor.density) ** (1 << INDEX_BITS)
        return nonzero, math.ceil(nonzero * run / max(1.0 - run, 1e-9))
    zero = 0
    if tensor.quantization is not None and tensor.quantization.zero_point.size == 1:
        zero = int(tensor.quantization.zero_point[0])
    values = np.moveaxis(tensor.data, -1, 0) if kind == "DEPTHWISE_CONV_2D" else tensor.data
    positions = np.flatnonzero(values.reshape(-1) != zero)
    gaps = np.diff(positions, prepend=-1) - 1
    return int(positions.size), int((gaps >> INDEX_BITS).sum())


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
    weights = weights_of(graph, operator)
    if weights is not None:
        if weights.quantization is None:
            return zero_points
        if weights.quantization.scale.size == 1 and weights.dtype == "uint8":
            zero_points += ZERO_POINT_BYTES
        return zero_points + MULTIPLIER_BYTES * weights.quantization.scale.size
    entry = entry_of(operator.kind)
    return zero_points + MULTIPLIER_BYTES * (0 if entry is None else entry.multipliers)
