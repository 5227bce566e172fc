"""Padding of sliding windows: SAME and VALID as in TFLite, and EXPLICIT, which TFLite has only as an operator before.

A convolution that PyTorch exports pads both sides alike, where TFLite's SAME pads an odd element behind the last. A
file then holds PAD and a VALID convolution, of which the first writes a copy of its input. Here the two are one
operator with the padding "EXPLICIT" and `pads`, which reads the pad value where the input ends, as SAME does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from evaluation.graph.types import Graph, Operator, Tensor

AxisPadding = str | tuple[int, int]
"""Padding along one axis: "SAME", "VALID", or elements before the first and behind the last."""
WINDOWED = ("CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D")
_ZERO_PADDED = ("CONV_2D", "DEPTHWISE_CONV_2D")


def padding_along(attributes: Mapping[str, Any], axis: int) -> AxisPadding:
    """The padding of a sliding window along rows (0) or columns (1)."""
    padding: str = attributes["padding"]
    if padding != "EXPLICIT":
        return padding
    before, behind = attributes["pads"][axis]
    return before, behind


def without_padding_operators(graph: Graph) -> Graph:
    """The graph with each PAD that only sliding windows read as the explicit padding of these.

    A PAD stays where it is a network's output, pads channels, has a reader that is no VALID convolution (or pool, see
    `_pads`), or pads so far that a window would read nothing but padding.
    """
    operators: list[Operator | None] = list(graph.operators)
    for index, operator in enumerate(graph.operators):
        if operator.kind not in ("PAD", "PADV2") or operator.outputs[0] in graph.outputs:
            continue
        readers = [at for at, other in enumerate(graph.operators) if operator.outputs[0] in other.inputs]
        if readers and all(_absorbs(graph, graph.operators[at], operator) for at in readers):
            operators[index] = None
            for at in readers:
                reader = graph.operators[at]
                attributes = {**reader.attributes, "padding": "EXPLICIT", "pads": operator.attributes["paddings"][1:3]}
                operators[at] = replace(reader, inputs=(operator.inputs[0], *reader.inputs[1:]), attributes=attributes)
    return replace(graph, operators=tuple(operator for operator in operators if operator is not None))


def with_padding_operators(graph: Graph) -> Graph:
    """Inverse of `without_padding_operators`, for files and runtimes that know SAME and VALID only."""
    tensors, operators = list(graph.tensors), []
    for operator in graph.operators:
        if operator.attributes.get("padding") == "EXPLICIT":
            padded, operator = _separated(operator, tensors)
            operators.append(padded)
        operators.append(operator)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _absorbs(graph: Graph, reader: Operator, pad: Operator) -> bool:
    """Whether a reader of a PAD computes the same with the padding as its own."""
    if (
        reader.kind not in WINDOWED
        or reader.attributes["padding"] != "VALID"
        or reader.inputs.count(pad.outputs[0]) > 1
    ):
        return False
    if reader.inputs[0] != pad.outputs[0] or not _pads(graph, reader.kind, pad):
        return False
    window = graph.tensors[reader.inputs[1]].shape[1:3] if reader.kind in _ZERO_PADDED else reader.attributes["filter"]
    batch, *sides, channels = pad.attributes["paddings"] if len(pad.attributes["paddings"]) == 4 else ((1, 1),) * 4
    reach = ((taps - 1) * step for taps, step in zip(window, reader.attributes.get("dilation", (1, 1)), strict=True))
    within = all(max(side) <= most for side, most in zip(sides, reach, strict=True))
    return within and max(*batch, *channels) == 0


def _pads(graph: Graph, kind: str, pad: Operator) -> bool:
    """Whether the value that is padded is what a window reads beyond an edge: zero, or for MAX_POOL_2D the least value
    (of an average, TFLite counts no padding)."""
    source = graph.tensors[pad.inputs[0]]
    zero = 0 if source.quantization is None else int(source.quantization.zero_point[0])
    value = None
    if pad.kind == "PADV2":
        value = graph.tensors[pad.inputs[2]].data
        if value is None or value.size != 1:
            return False
    if kind in _ZERO_PADDED:
        return value is None or value.item() == zero
    if kind != "MAX_POOL_2D" or value is None:
        return False
    limits = np.finfo(source.dtype) if source.dtype == "float32" else np.iinfo(source.dtype)
    return bool(value.item() <= limits.min)


def _separated(operator: Operator, tensors: list[Tensor]) -> tuple[Operator, Operator]:
    """PAD, or PADV2 before a MAX_POOL_2D, and the operator without padding; what they need is appended to `tensors`."""
    source, pads = tensors[operator.inputs[0]], operator.attributes["pads"]
    sizes = [size + sum(side) for size, side in zip(source.shape[1:3], pads, strict=True)]
    name = f"{operator.name}/pad"
    first = len(tensors)
    paddings = np.array([(0, 0), *pads, (0, 0)], np.int32)
    tensors.append(replace(source, name=name, shape=(source.shape[0], *sizes, source.shape[3])))
    tensors.append(Tensor(f"{name}/paddings", (4, 2), "int32", 32, is_constant=True, data=paddings))
    inputs: tuple[int, ...] = (operator.inputs[0], first + 1)
    kind = "PAD"
    if operator.kind == "MAX_POOL_2D":
        limits = np.finfo(source.dtype) if source.dtype == "float32" else np.iinfo(source.dtype)
        value = np.array([limits.min], source.dtype)
        tensors.append(replace(source, name=f"{name}/value", shape=(1,), is_constant=True, data=value))
        kind, inputs = "PADV2", (*inputs, first + 2)
    attributes = {name: value for name, value in operator.attributes.items() if name != "pads"}
    pad = Operator(kind, name, inputs, (first,), {"paddings": tuple(tuple(map(int, row)) for row in paddings)})
    reader = replace(operator, inputs=(first, *operator.inputs[1:]), attributes={**attributes, "padding": "VALID"})
    return pad, reader
