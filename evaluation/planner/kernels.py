"""What every kernel promises: the contract between the planner, the executor and the C program.

For each operator: whether it can compute part of its output (tiles), what working memory it needs (scratch), whether
its output may lie where its input lay (in place), and which neighbours run as one call (fused). Regions are in
`geometry`.

Scratch, in bytes:
- kernels whose weights are packed or sparse unpack one output channel at a time: kh*kw*cin values of the type they
  compute in (int8, int16 or float32);
- a pool over the whole picture, and MEAN, keep one running sum for each output value: int32 (int64 for 16-bit
  activations, float32 for float);
- all else needs none. In particular fused RESIZE_BILINEAR + ARG_MAX interpolates one class after another at one pixel,
  rounds it as the resize would, and keeps only the best so far; the first class wins a tie.

In place: RESHAPE, SQUEEZE and EXPAND_DIMS only rename bytes. QUANTIZE from the frame's uint8 to another 8-bit code
rewrites the frame where it lies, provided nothing else reads the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evaluation.errors import UserError
from evaluation.graph import ABSENT, Graph, Operator, Tensor, operator_macs
from evaluation.planner.geometry import COLUMNS, ROWS, Need, need, window_size
from evaluation.planner.types import extent
from evaluation.planner.weights import kernel_rows, needs_unpacking

MAX_LABEL_CLASSES = 256
_MAX_SIDE = 1 << 16
_RENAMING = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
_WHOLE = {
    "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "FULLY_CONNECTED", "MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "TRANSPOSE",
    "STRIDED_SLICE", "SLICE", "SPLIT", "PACK", "TRANSPOSE_CONV", "MIRROR_PAD", "BATCH_MATMUL",
}  # fmt: skip
_BY_ROWS = {
    "CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR",
    "PAD", "PADV2", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "CONCATENATION", "SOFTMAX", "LOG_SOFTMAX", "ARG_MAX", "ARG_MIN",
    "ADD", "SUB", "MUL", "DIV", "MINIMUM", "MAXIMUM", "SQUARED_DIFFERENCE", "PRELU", "QUANTIZE", "DEQUANTIZE", "CAST",
    "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "ELU", "HARD_SWISH", "LOGISTIC", "TANH", "ABS", "NEG", "EXP",
    "SQRT", "RSQRT", "SQUARE", "FLOOR", "CEIL", "ROUND",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class KernelCall:
    """One kernel over the whole of its output: an operator, or several that are fused. A tile is a part of it."""

    operators: tuple[int, ...]
    reads: tuple[int, ...]
    """Non-constant input tensors, in operator order (a tensor read twice stands twice)."""
    writes: tuple[int, ...]
    row_needs: tuple[Need | None, ...]
    """For each of `reads`: the input rows each output row needs; None = all at once."""
    in_place: bool
    """The first output lies where the first input lay."""
    scratch_bytes: int
    macs: int

    @property
    def tileable(self) -> bool:
        """Whether any row of the output can be computed alone."""
        return len(self.writes) == 1 and all(rows is not None for rows in self.row_needs)


def kernel_calls(graph: Graph, *, rewrite_frame: bool = True) -> tuple[KernelCall, ...]:
    """The kernel calls of one run, in the graph's order.

    Args:
        rewrite_frame: the camera frame may be requantised where it lies; False where it must survive the run.

    Raises:
        UserError: an operator whose kernel is not specified here, or a tensor that cannot be planned.
    """
    _check_tensors(graph)
    readers: dict[int, list[int]] = {}
    for index, operator in enumerate(graph.operators):
        if operator.kind not in _BY_ROWS | _WHOLE:
            raise UserError(
                f'{graph.name}: operator {index} ({operator.kind} "{operator.name}") has no kernel here; '
                f"plannable kinds are {', '.join(sorted(_BY_ROWS | _WHOLE))}"
            )
        for tensor in set(operator.inputs):
            readers.setdefault(tensor, []).append(index)
    fused = {
        producer: index
        for index, operator in enumerate(graph.operators)
        if (producer := _fusible_resize(graph, index, readers)) is not None
    }
    calls = []
    for index in range(len(graph.operators)):
        if index in fused:
            continue
        producer = next((p for p, consumer in fused.items() if consumer == index), None)
        calls.append(_call(graph, index, producer, readers, rewrite_frame))
    return tuple(calls)


def is_label_map(graph: Graph, tensor: int) -> bool:
    """Whether `tensor` is the result as classes of pixels: an ARG_MAX over at most 256 channels that nothing reads."""
    if tensor not in graph.outputs or any(tensor in operator.inputs for operator in graph.operators):
        return False
    producer = next((operator for operator in graph.operators if tensor in operator.outputs), None)
    if producer is None or producer.kind != "ARG_MAX" or len(graph.tensors[tensor].shape) != 3:
        return False
    return graph.tensors[producer.inputs[0]].shape[-1] <= MAX_LABEL_CLASSES


def row_bytes(tensor: Tensor) -> int:
    """Bytes of one full row of a tensor as it lies in the arena; a row begins on a whole byte."""
    _, columns, channels = extent(tensor)
    return math.ceil(columns * channels * tensor.bits / 8)


def tensor_bytes(tensor: Tensor) -> int:
    return extent(tensor)[0] * row_bytes(tensor)


def _call(
    graph: Graph, index: int, producer: int | None, readers: dict[int, list[int]], rewrite_frame: bool
) -> KernelCall:
    operator = graph.operators[index]
    macs = operator_macs(graph, operator)
    if producer is not None:
        resize = graph.operators[producer]
        # ARG_MAX keeps rows, so the rows that the pair needs are those the resize needs.
        rows = (need(graph, resize, 0, ROWS),)
        return KernelCall((producer, index), (resize.inputs[0],), operator.outputs, rows, False, 0, macs)
    positions = [
        position
        for position, tensor in enumerate(operator.inputs)
        if tensor != ABSENT and not graph.tensors[tensor].is_constant
    ]
    return KernelCall(
        operators=(index,),
        reads=tuple(operator.inputs[position] for position in positions),
        writes=operator.outputs,
        row_needs=tuple(_row_need(graph, operator, position) for position in positions),
        in_place=_in_place(graph, operator, readers, rewrite_frame),
        scratch_bytes=_scratch_bytes(graph, index),
        macs=macs,
    )


def _row_need(graph: Graph, operator: Operator, position: int) -> Need | None:
    if operator.kind in _WHOLE or need(graph, operator, position, COLUMNS) is None:
        return None
    return need(graph, operator, position, ROWS)


def _fusible_resize(graph: Graph, index: int, readers: dict[int, list[int]]) -> int | None:
    """The RESIZE_BILINEAR that ARG_MAX `index` can swallow, if it is the only one to read it."""
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


def _in_place(graph: Graph, operator: Operator, readers: dict[int, list[int]], rewrite_frame: bool) -> bool:
    if not operator.inputs or operator.inputs[0] == ABSENT or graph.tensors[operator.inputs[0]].is_constant:
        return False
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    if operator.kind in _RENAMING:
        if source.bits == output.bits >= 8:
            is_frame = operator.inputs[0] in graph.inputs
            return rewrite_frame or not is_frame
        return False
    only_reader = len(readers[operator.inputs[0]]) == 1 and operator.inputs[0] not in graph.outputs
    is_frame = operator.inputs[0] in graph.inputs and source.dtype == "uint8"
    return operator.kind == "QUANTIZE" and rewrite_frame and only_reader and is_frame and output.bits == source.bits


def _scratch_bytes(graph: Graph, index: int) -> int:
    operator = graph.operators[index]
    scratch = 0
    if needs_unpacking(graph, index):
        weights = graph.tensors[operator.inputs[1]]
        _, length = kernel_rows(weights, operator.kind)
        scratch += length * np.dtype(weights.dtype).itemsize
    source, output = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
    is_global_pool = operator.kind == "AVERAGE_POOL_2D" and window_size(graph, operator) == source.shape[1:3]
    if is_global_pool or operator.kind in ("MEAN", "SUM"):
        scratch += output.elements * (8 if source.bits == 16 else 4)
    return scratch


def _check_tensors(graph: Graph) -> None:
    touched = {i for operator in graph.operators for i in (*operator.inputs, *operator.outputs) if i != ABSENT}
    for index in sorted(touched):
        tensor = graph.tensors[index]
        if tensor.is_constant:
            continue
        where = f'{graph.name}: tensor {index} "{tensor.name}" of shape {tensor.shape}'
        if len(tensor.shape) in (3, 4) and tensor.shape[0] != 1:
            raise UserError(f"{where} holds a batch; export the network for one picture at a time")
        if max(extent(tensor)[:2]) > _MAX_SIDE:
            raise UserError(f"{where} is more than {_MAX_SIDE} rows or columns; such pictures are not planned")
