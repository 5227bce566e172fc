"""Read a `.tflite` file into a `Graph`, without TensorFlow.

Only what can be planned ahead of time is accepted: one subgraph of builtin operators with constant shapes and no
state. Everything else is refused with one line that names the operator or tensor. The flatbuffer is not trusted:
vector lengths are checked against the file before they are walked, and any inconsistency the schema code runs into
is reported as a damaged file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.errors import UserError
from evaluation.graph.attributes import AttributeRefusedError, read_attributes
from evaluation.graph.executable import check_order
from evaluation.graph.flatbuffer import DAMAGE, RefusedError, count, enum_name, indices, locating, printable, reason_of
from evaluation.graph.folding import fold_dequantized_constants
from evaluation.graph.quantization_rules import check_quantization
from evaluation.graph.shapes import check_shapes
from evaluation.graph.tflite_tensors import read_tensor
from evaluation.graph.types import ABSENT, Graph, Operator, Tensor

_IDENTIFIER = b"TFL3"
_MOST_BYTES = 1 << 31
"""Size of the largest file: a flatbuffer's offsets have 31 bits. Of a device, which has no end, nothing is read."""
_REFUSED = {
    **dict.fromkeys(("IF", "WHILE", "CALL", "CALL_ONCE"), "control flow cannot be planned"),
    **dict.fromkeys(
        ("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "WHERE", "UNIQUE", "SEGMENT_SUM", "SPARSE_TO_DENSE",
         "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN", "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_SUM"),
        "its output shape is only known at run time",
    ),
    **dict.fromkeys(
        ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT",
         "HASHTABLE_LOOKUP", "HASHTABLE_SIZE"),
        "it keeps state between runs; stateful networks cannot be planned",
    ),
    **dict.fromkeys(
        ("RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL"), "its output is random; no two runs would agree"
    ),
}  # fmt: skip
"""Kinds that are builtin and still refused, and why."""


def read_tflite(source: Path | str | bytes, name: str | None = None) -> Graph:
    """The graph of a `.tflite` file (a path, or its bytes).

    Constants that the file stores as float16 and dequantizes at run time are folded to float32 constants.

    Raises:
        UserError: the file is missing, damaged, or holds something that cannot be planned (custom operators, control
            flow, dynamic shapes, several subgraphs, sparse tensors, state, buffers outside the flatbuffer), or with
            scales and zero points that TFLite forbids (see `quantization_rules`).
    """
    if isinstance(source, bytes | bytearray):
        data, name = bytes(source), name or "network"
    else:
        path = Path(source)
        name = name or path.name
        try:
            if path.exists() and not path.is_dir() and not (path.is_file() and path.stat().st_size <= _MOST_BYTES):
                raise UserError(f"{path}: is no file of at most 2 GiB, which a .tflite file is; give a TFLite network")
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); expected a .tflite file") from None
    if len(data) < 16 or data[4:8] != _IDENTIFIER:
        raise UserError(f"{name}: not a .tflite file (no {_IDENTIFIER.decode()} mark at byte 4); give a TFLite network")
    try:
        with np.errstate(all="ignore"):
            return fold_dequantized_constants(_read_model(data, name))
    except RefusedError as refusal:
        raise UserError(f"{name}: {refusal}") from None
    except DAMAGE as damage:
        raise UserError(
            f"{name}: truncated or damaged .tflite file ({reason_of(damage)}); fetch or convert it again"
        ) from None


@dataclass(frozen=True)
class _Call:
    """An operator before its tensors are known: kind, tensor indices, option table."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Any


def _read_model(data: bytes, name: str) -> Graph:
    from ai_edge_litert import schema_py_generated as schema  # 50 ms, and only needed here

    model = schema.Model.GetRootAs(data, 0)
    subgraphs = count(model.SubgraphsLength(), data, "subgraphs")
    if subgraphs != 1:
        raise RefusedError(f"has {subgraphs} subgraphs; only single-subgraph networks can be planned")
    subgraph = model.Subgraphs(0)
    limit = count(subgraph.TensorsLength(), data, "tensors")
    calls = _read_calls(model, subgraph, limit, data, schema)
    users = _users(calls)
    tensors = tuple(_located_tensor(model, subgraph, index, users, data, schema) for index in range(limit))
    inputs = indices(subgraph.InputsLength(), subgraph.InputsAsNumpy, limit)
    outputs = indices(subgraph.OutputsLength(), subgraph.OutputsAsNumpy, limit)
    operators = tuple(_with_attributes(call, index, tensors, schema) for index, call in enumerate(calls))
    graph = Graph(Path(name).stem, tensors, operators, inputs, outputs)
    _check_order(graph)
    check_shapes(graph)
    check_quantization(graph)
    return graph


def _users(calls: tuple[_Call, ...]) -> dict[int, str]:
    """The first operator that touches each tensor, for messages; its output rather than another's input."""
    users: dict[int, str] = {}
    for index, call in enumerate(calls):
        users |= {tensor: f"input of operator {index} ({call.kind})" for tensor in call.inputs if tensor not in users}
        users |= dict.fromkeys(call.outputs, f"output of operator {index} ({call.kind})")
    return users


def _located_tensor(model: Any, subgraph: Any, index: int, users: dict[int, str], data: bytes, schema: Any) -> Tensor:
    """A tensor, or an error that says which tensor it is and which operator touches it."""
    user = users.get(index, "which no operator uses")
    with locating(f"tensor {index}, {user}"):
        tensor = subgraph.Tensors(index)
        name = printable(tensor.Name())
        where = f'tensor {index} "{name}", {user},'
        return read_tensor(model, tensor, name or f"tensor_{index}", where, data, schema)


def _read_calls(model: Any, subgraph: Any, tensors: int, data: bytes, schema: Any) -> tuple[_Call, ...]:
    calls, named = [], 0
    for index in range(count(subgraph.OperatorsLength(), data, "operators")):
        with locating(f"operator {index}"):
            calls.append(_read_call(model, subgraph.Operators(index), index, tensors, data, schema))
        named += len(calls[-1].inputs) + len(calls[-1].outputs)
        # Lists that overlap: no writer makes them, and reading them all could take hours.
        if 4 * named > len(data):
            raise ValueError("more tensors named by operators than the file has room for")
    return tuple(calls)


def _read_call(model: Any, operator: Any, index: int, tensors: int, data: bytes, schema: Any) -> _Call:
    opcode = operator.OpcodeIndex()
    if opcode >= count(model.OperatorCodesLength(), data, "operator codes"):
        raise ValueError(f"operator {index} names operator code {opcode}")
    code = model.OperatorCodes(opcode)
    kind = enum_name(schema.BuiltinOperator, max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
    if kind == "CUSTOM":
        raise RefusedError(
            f'operator {index} is the custom operator "{printable(code.CustomCode()) or "?"}"; '
            "only builtin operators can be planned"
        )
    if kind in _REFUSED:
        raise RefusedError(f"operator {index} is {kind}: {_REFUSED[kind]}")
    if kind.startswith(("STABLEHLO", "DELEGATE", "PLACEHOLDER", "unknown")):
        raise RefusedError(f"operator {index} is of the kind {kind}; convert to builtin TFLite operators")
    with locating(f"operator {index} ({kind})"):
        inputs = indices(operator.InputsLength(), operator.InputsAsNumpy, tensors, optional=True)
        outputs = indices(operator.OutputsLength(), operator.OutputsAsNumpy, tensors)
    if not outputs:
        raise ValueError(f"operator {index} ({kind}) has no output")
    return _Call(kind, inputs, outputs, operator)


def _with_attributes(call: _Call, index: int, tensors: tuple[Tensor, ...], schema: Any) -> Operator:
    def constant(position: int) -> np.ndarray | None:
        return tensors[call.inputs[position]].data if call.inputs[position] != ABSENT else None

    def rank(position: int) -> int:
        return len(tensors[call.inputs[position]].shape)

    try:
        with locating(f"operator {index} ({call.kind})"):
            attributes = read_attributes(call.kind, _options(call.table, schema), constant, rank)
    except AttributeRefusedError as refusal:
        raise RefusedError(f"operator {index} ({call.kind}): {refusal}") from None
    return Operator(call.kind, tensors[call.outputs[0]].name, call.inputs, call.outputs, attributes)


def _options(operator: Any, schema: Any) -> Any | None:
    """The operator's option table, unpacked by the schema's own object class."""
    table = operator.BuiltinOptions()
    name = enum_name(schema.BuiltinOptions, operator.BuiltinOptionsType())
    if table is None or name in ("NONE", "unknown"):
        return None
    options = getattr(schema, name)()
    options.Init(table.Bytes, table.Pos)
    unpacked = getattr(schema, f"{name}T")
    if name == "ReshapeOptions":  # its only field, the new shape, is the output's shape
        return None
    return unpacked.InitFromObj(options)


def _check_order(graph: Graph) -> None:
    check_order(graph)
    for output in graph.outputs:
        if graph.tensors[output].is_constant:
            raise RefusedError(f"output {graph.tensors[output].name} is a constant, which no operator computes")
