"""The contract of kernels between the planner, the interpreter and the C program.

`kernel_calls` gives for each call whether it can compute part of its output (tiles), its working memory (scratch), the
inputs that the output may overwrite (in place), and the operators that run as one call (fused).

Scratch:
- Kernels with packed or sparse weights unpack them in the type they compute in (int8, int16 or float32): the kernel of
  one output channel, or those of a block of channels (`evaluation.kernels.selection.unpacked_shape`).
- Pools over the whole image, MEAN and SUM have one accumulator for each output value, in the narrowest sufficient type
  (`evaluation.graph.accumulate`). Computed tile by tile, the accumulators are live from the first tile to the last.
- Other kernels need none. Fused RESIZE_BILINEAR + ARG_MAX interpolates the classes of a pixel in turn, rounds as the
  resize does, and keeps the best; ties go to the first class.

In place: RESHAPE, SQUEEZE and EXPAND_DIMS leave the bytes unchanged. Element-wise operators may write each element over
the one they read: activations, QUANTIZE between values of one width (the frame's uint8 included), and operators of two
operands over an operand of the output's shape that nothing else reads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import NoReturn

import numpy as np

from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Tensor, operator_macs
from evaluation.graph.accumulate import accumulator_dtype
from evaluation.graph.geometry import COLUMNS, ROWS, Need, need
from evaluation.graph.regions import extent
from evaluation.kernels.registry import REGISTRY, InPlace, OperatorEntry, entry_of
from evaluation.kernels.selection import is_global_reduction, unpacked_bytes
from evaluation.listing import listed, shortened

MAX_LABEL_CLASSES = 256
_MAX_SIDE = 1 << 16


@dataclass(frozen=True, eq=False)
class KernelCall:
    """A call of one kernel, for one operator or several fused ones, over its whole output; a tile computes part of it.

    Tensors are named by *values*: the graph's tensor index, plus a multiple of the number of tensors for each further
    time that a tensor is computed (see `variants`).
    """

    operators: tuple[int, ...]
    reads: tuple[int, ...]
    """Non-constant input values in operator order, repeated where one is read twice."""
    writes: tuple[int, ...]
    needs: tuple[tuple[Need, Need] | None, ...]
    """For each of `reads`: the input rows that an output row needs, and the same for columns; None: the whole input."""
    in_place: tuple[int, ...]
    """Positions in `reads` of values that the first output may overwrite, if nothing else reads them."""
    reduces: bool
    """Whether it is a reduction over the whole image, which can add its input to an accumulator tile by tile."""
    scratch_bytes: int
    """Bytes of working memory; for a reduction, of its accumulator."""
    macs: int

    @property
    def tileable(self) -> bool:
        """Whether any rectangle of the output can be computed independently."""
        return len(self.writes) == 1 and not self.reduces and all(need is not None for need in self.needs)


def kernel_calls(graph: Graph) -> tuple[KernelCall, ...]:
    """The kernel calls of one run, in the graph's order.

    Raises:
        UserError: an operator is not in the registry, or a tensor cannot be planned.
    """
    _check_tensors(graph)
    readers: dict[int, list[int]] = {}
    for index, operator in enumerate(graph.operators):
        if entry_of(operator.kind) is None:
            raise UserError(
                f'{graph.name}: operator {index} ({operator.kind} "{shortened(operator.name)}") has no kernel here; '
                f"plannable kinds are {listed(sorted(kinds[0] for kinds in REGISTRY if len(kinds) == 1))}"
            )
        for tensor in set(operator.inputs):
            readers.setdefault(tensor, []).append(index)
    fused = {
        producer: index
        for index, operator in enumerate(graph.operators)
        if (producer := _fusible_resize(graph, index, readers)) is not None
    }
    fused_into = {consumer: producer for producer, consumer in fused.items()}
    return tuple(
        _call(graph, index, fused_into.get(index)) for index in range(len(graph.operators)) if index not in fused
    )


def slices_of(graph: Graph, call: KernelCall) -> tuple[int, ...] | None:
    """First channel of each input in the output of a CONCATENATION that can be elided, since it is along the channels
    and all inputs have the output's type and quantization; None for any other call."""
    operator = graph.operators[call.operators[0]]
    if operator.kind != "CONCATENATION" or len(call.reads) != len(operator.inputs):
        return None
    output = graph.tensors[operator.outputs[0]]
    inputs = [graph.tensors[index] for index in operator.inputs]
    if len(output.shape) != 4 or operator.attributes["axis"] != 3:
        return None
    if operator.attributes.get("activation", "NONE") != "NONE" or any(not alike(one, output) for one in inputs):
        return None
    channels = [tensor.shape[3] for tensor in inputs]
    if any(first * output.bits % 8 for first in accumulate(channels)):
        return None  # slices must begin on whole bytes
    return tuple(accumulate(channels[:-1], initial=0))


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same type, width and quantization."""
    if (one.dtype, one.bits) != (other.dtype, other.bits):
        return False
    if one.quantization is None or other.quantization is None:
        return one.quantization is other.quantization
    same_scale = np.array_equal(one.quantization.scale, other.quantization.scale)
    return same_scale and np.array_equal(one.quantization.zero_point, other.quantization.zero_point)


def is_label_map(graph: Graph, tensor: int) -> bool:
    """Whether `tensor` is a label map: a network output by an ARG_MAX over at most 256 channels, which nothing
    reads."""
    if tensor not in graph.outputs or any(tensor in operator.inputs for operator in graph.operators):
        return False
    producer = next((operator for operator in graph.operators if tensor in operator.outputs), None)
    if producer is None or producer.kind != "ARG_MAX" or len(graph.tensors[tensor].shape) != 3:
        return False
    return graph.tensors[producer.inputs[0]].shape[-1] <= MAX_LABEL_CLASSES


def row_bytes(tensor: Tensor) -> int:
    """Bytes of a row of a tensor in the arena; rows begin on whole bytes."""
    _, columns, channels = extent(tensor)
    return math.ceil(columns * channels * tensor.bits / 8)


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a whole tensor in the arena."""
    return extent(tensor)[0] * row_bytes(tensor)


def _call(graph: Graph, index: int, producer: int | None) -> KernelCall:
    operator = graph.operators[index]
    macs = operator_macs(graph, operator)
    if producer is not None:
        resize = graph.operators[producer]
        # ARG_MAX keeps rows and columns, so the pair needs the input of the resize.
        needs = (_needs(graph, resize, 0),)
        return KernelCall((producer, index), (resize.inputs[0],), operator.outputs, needs, (), False, 0, macs)
    positions = [
        position
        for position, tensor in enumerate(operator.inputs)
        if tensor != ABSENT and not graph.tensors[tensor].is_constant
    ]
    return KernelCall(
        operators=(index,),
        reads=tuple(operator.inputs[position] for position in positions),
        writes=operator.outputs,
        needs=tuple(_needs(graph, operator, position) for position in positions),
        in_place=_in_place(graph, operator, positions),
        reduces=is_global_reduction(graph, operator),
        scratch_bytes=_scratch_bytes(graph, index),
        macs=macs,
    )


def _entry(operator: Operator) -> OperatorEntry:
    entry = entry_of(operator.kind)
    if entry is None:
        raise ValueError(f"{operator.kind} is not in the registry")
    return entry


def _needs(graph: Graph, operator: Operator, position: int) -> tuple[Need, Need] | None:
    if not _entry(operator).by_rows:
        return None
    rows, columns = (need(graph, operator, position, axis) for axis in (ROWS, COLUMNS))
    return None if rows is None or columns is None else (rows, columns)


def _fusible_resize(graph: Graph, index: int, readers: dict[int, list[int]]) -> int | None:
    """The RESIZE_BILINEAR that can be fused with ARG_MAX `index`, its only reader; None without one."""
    operator = graph.operators[index]
    if operator.kind != "ARG_MAX" or not is_label_map(graph, operator.outputs[0]):
        return None
    logits = operator.inputs[0]
    if readers[logits] != [index] or logits in graph.outputs or operator.attributes["axis"] != 3:
        return None
    producer = next((i for i, other in enumerate(graph.operators) if logits in other.outputs), None)
    if producer is None or graph.operators[producer].kind != "RESIZE_BILINEAR":
        return None
    return producer


def _in_place(graph: Graph, operator: Operator, positions: list[int]) -> tuple[int, ...]:
    """Positions among the non-constant inputs that the output may overwrite in place."""
    output = graph.tensors[operator.outputs[0]]
    inputs = [operator.inputs[position] for position in positions]
    allowed, rule = [], _entry(operator).in_place
    for position, tensor in enumerate(inputs):
        source = graph.tensors[tensor]
        if inputs.count(tensor) > 1 or source.bits != output.bits:
            continue
        if rule is InPlace.RENAMES:
            if position == 0 and source.bits >= 8:
                allowed.append(position)
        elif rule is InPlace.REWRITES and source.shape == output.shape:
            allowed.append(position)
    return tuple(allowed)


def _scratch_bytes(graph: Graph, index: int) -> int:
    operator = graph.operators[index]
    scratch = unpacked_bytes(graph, index)
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if is_global_reduction(graph, operator) or _entry(operator).accumulates:
        count = source.elements // output.elements
        scratch += output.elements * np.dtype(accumulator_dtype(source, count)).itemsize
    return scratch


def _check_tensors(graph: Graph) -> None:
    touched = {i for operator in graph.operators for i in (*operator.inputs, *operator.outputs) if i != ABSENT}
    for index in sorted(touched):
        tensor = graph.tensors[index]
        if tensor.is_constant:
            continue
        where = f'{graph.name}: tensor {index} "{shortened(tensor.name)}" of shape {tensor.shape}'
        if len(tensor.shape) in (3, 4) and tensor.shape[0] != 1:
            _refuse_first_axis(graph, where, tensor.shape[0])
        if max(extent(tensor)[:2]) > _MAX_SIDE:
            raise UserError(f"{where} is more than {_MAX_SIDE} rows or columns; such images are not planned")


def _refuse_first_axis(graph: Graph, where: str, size: int) -> NoReturn:
    """Refuse a tensor of rank 3 or 4 whose first axis is not 1: that of a batch, or of another layout."""
    batches = {graph.tensors[i].shape[0] for i in graph.inputs if len(graph.tensors[i].shape) in (3, 4)}
    if batches - {1}:
        raise UserError(f"{where} holds a batch; export the network for one image at a time")
    raise UserError(
        f"{where} has a first axis of {size} though the network takes one image; tensors of 3 or 4 axes are planned as "
        "(1, rows, columns) or (1, rows, columns, channels), so keep an axis of 1 in front"
    )
