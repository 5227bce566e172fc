"""Our offsets for TensorFlow Lite Micro: a copy of a `.tflite` file that holds the offset of each tensor.

TFLM plans its arena when it starts, greedily, unless the file brings a plan: metadata named `OfflineMemoryAllocation`
(tflite-micro, docs/memory_management.md) with one offset from the start of the head section for each tensor. The
lifetimes are TFLM's own (tflite-micro, micro_allocation_info.cc): every operator runs alone in file order, no two
tensors share a place, an input lives from before the first operator to its last reader, an output to the end, and
sizes are rounded up to 16 bytes. Scratch of kernels cannot be planned ahead; TFLM puts it where the offsets leave room,
lowest gap first. So each operator's scratch, as the reference kernels ask for it, is planned as one block in its step,
and then left out of the file: the room is there.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.errors import UserError
from evaluation.graph import ABSENT, read_tflite
from evaluation.graph.tflite_writer import AlignedBuffer
from evaluation.other_runtimes import TflmArena, tflm_arena
from evaluation.planner.placement import Block, place

METADATA_NAME = b"OfflineMemoryAllocation"
ALIGNMENT_BYTES = 16
ONLINE = -1
"""Offset of a tensor that TFLM places itself, or does not place at all."""
_FORMAT_VERSION = 1
_ELEMENT_BYTES = {
    "FLOAT32": 4, "FLOAT16": 2, "INT64": 8, "INT32": 4, "INT16": 2, "INT8": 1, "UINT8": 1, "INT4": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class OfflinePlan:
    """The offset of each tensor of a file in TFLM's head section."""

    offsets: tuple[int, ...]
    """Bytes from the start of the section, one for each tensor of the file, in its order; `ONLINE` for constants."""
    head_bytes: int
    """Size of the section, room for scratch included."""
    lower_bound_bytes: int
    """Largest sum of sizes alive at one operator: TFLM's order and lifetimes allow no smaller head."""


@dataclass(frozen=True)
class Written:
    """The result of writing a plan: the plan, and the arena that TFLM itself states before and after."""

    plan: OfflinePlan
    before: TflmArena
    after: TflmArena


def write_offline_plan(path: str | Path, out: str | Path) -> Written:
    """Write a copy of the network at `path` with our offsets to `out`, and have TFLM load both.

    Raises:
        UserError: the network cannot be read, TFLM is not installed or refuses it, `out` cannot be written, or TFLM
            would need more with the plan than without (then there is no file).
    """
    path, out = Path(path), Path(out)
    read_tflite(path)  # refuses a damaged file in one line
    before = tflm_arena(path)
    data = path.read_bytes()
    plan = offline_plan(data)
    try:
        out.write_bytes(with_offline_plan(data, plan.offsets))
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); give a file in a folder that exists") from None
    after = tflm_arena(out)
    if after.head_bytes > before.head_bytes:
        os.unlink(out)
        raise UserError(
            f"{path}: TFLM needs {after.head_bytes} bytes with the plan and {before.head_bytes} without, so nothing "
            "was written; its kernels ask for scratch that this program does not know"
        )
    return Written(plan, before, after)


def offline_plan(data: bytes) -> OfflinePlan:
    """Offsets for a file that `read_tflite` accepts, given as its bytes."""
    model = _schema().ModelT.InitFromPackedBuf(data, 0)
    (subgraph,) = model.subgraphs
    placed = [index for index in range(len(subgraph.tensors)) if _needs_room(model, index)]
    lives = _lives(subgraph)
    blocks = [Block(*lives[index], _tensor_bytes(subgraph.tensors[index])) for index in placed]
    # TFLM places the largest scratch of an operator first; a gap as large as all of it together always does.
    scratch = [_scratch_bytes(model, operator) for operator in subgraph.operators]
    blocks += [Block(step, step + 1, size) for step, size in enumerate(scratch, _FIRST_STEP) if size]
    placement = place(blocks, ALIGNMENT_BYTES)
    offsets = [ONLINE] * len(subgraph.tensors)
    for index, offset in zip(placed, placement.offsets, strict=False):  # the scratch after them is left out
        offsets[index] = offset
    return OfflinePlan(tuple(offsets), placement.height_bytes, placement.load_bytes)


def with_offline_plan(data: bytes, offsets: Sequence[int]) -> bytes:
    """The file with the offsets in its metadata; a plan that it had before is replaced, all else stays."""
    import flatbuffers

    schema = _schema()
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    kept = [entry for entry in model.metadata or [] if entry.name != METADATA_NAME]
    entry, buffer = schema.MetadataT(), schema.BufferT()
    header = (_FORMAT_VERSION, len(model.subgraphs), len(offsets))
    buffer.data = np.array([*header, *offsets], "<i4").view(np.uint8)
    entry.name, entry.buffer = METADATA_NAME, len(model.buffers)
    model.metadata = [*kept, entry]
    model.buffers = [AlignedBuffer(each) for each in (*model.buffers, buffer)]
    builder = flatbuffers.Builder(len(data) + 4 * len(offsets) + 1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


_NEVER, _START, _FIRST_STEP = 0, 1, 2
"""Times of TFLM's planner, shifted to count from 0: tensors that nothing touches, before the run, first operator."""


def _lives(subgraph: Any) -> list[tuple[int, int]]:
    """The steps [lower, upper) in which TFLM holds each tensor."""
    lower = [_NEVER] * len(subgraph.tensors)
    last = [_NEVER] * len(subgraph.tensors)
    for index in (*subgraph.inputs, *subgraph.outputs):
        lower[index] = last[index] = _START
    end = _START
    for end, operator in enumerate(subgraph.operators, _FIRST_STEP):
        for index in operator.outputs:
            lower[index] = last[index] = end
        for index in operator.inputs:
            if index != ABSENT:
                last[index] = end
    for index in subgraph.outputs:
        last[index] = end
    return [(first, final + 1) for first, final in zip(lower, last, strict=True)]


def _needs_room(model: Any, index: int) -> bool:
    """Whether TFLM gives the tensor a place: it has elements, and no values in the file."""
    tensor = model.subgraphs[0].tensors[index]
    values = model.buffers[tensor.buffer].data
    return _tensor_bytes(tensor) > 0 and (values is None or len(values) == 0)


def _elements(tensor: Any) -> int:
    return math.prod(int(size) for size in tensor.shape) if tensor.shape is not None else 1


def _tensor_bytes(tensor: Any) -> int:
    return _elements(tensor) * _ELEMENT_BYTES[_type(tensor)]


def _type(tensor: Any) -> str:
    types: Mapping[str, int] = vars(_schema().TensorType)
    return next(name for name, value in types.items() if value == tensor.type)


def _scratch_bytes(model: Any, operator: Any) -> int:
    """Bytes that TFLM's reference kernels ask for in the arena (tflite-micro, kernels/*.cc), each request rounded up.

    Reductions: an int for each dimension and each axis; MEAN and SUM of integers also one for each output.
    TRANSPOSE_CONV of integers: a sum for each output (int32, or int64 for 16 bits), and a 16-bit bias widened to int64.
    Convolutions with 4-bit weights: the weights unpacked.
    """
    schema = _schema()
    kinds = schema.BuiltinOperator
    code = model.operatorCodes[operator.opcodeIndex]
    kind = max(code.builtinCode, code.deprecatedBuiltinCode)
    tensors = model.subgraphs[0].tensors
    output = tensors[operator.outputs[0]]
    inputs = [tensors[index] for index in operator.inputs if index != ABSENT]
    requests: list[int] = []
    if kind in (kinds.MEAN, kinds.SUM, kinds.REDUCE_MAX, kinds.REDUCE_MIN):
        requests = [4 * len(inputs[0].shape), 4 * _elements(inputs[1])]
        if kind in (kinds.MEAN, kinds.SUM) and _type(inputs[0]) in ("INT8", "UINT8", "INT16"):
            requests.append(4 * _elements(output))
    elif kind == kinds.TRANSPOSE_CONV and _type(output) in ("INT8", "INT16"):
        requests = [(8 if _type(output) == "INT16" else 4) * _elements(output)]
        requests += [8 * _elements(bias) for bias in inputs[3:] if _type(bias) == "INT16"]
    elif kind in (kinds.CONV_2D, kinds.DEPTHWISE_CONV_2D, kinds.FULLY_CONNECTED) and _type(inputs[1]) == "INT4":
        requests = [_elements(inputs[1])]
    return sum(-(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES for size in requests)


def _schema() -> Any:
    from ai_edge_litert import schema_py_generated as schema  # 50 ms, and only needed here

    return schema
