"""Notes on quantization parameters that TFLite runs, but not everywhere alike, so that labels may differ."""

from __future__ import annotations

import numpy as np

from evaluation.graph.quantization_rules import WEIGHTED, bias_misfit
from evaluation.graph.types import ABSENT, Graph, Operator, Tensor

_KEEP = {
    "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "MAX_POOL_2D", "MAXIMUM",
    "MINIMUM", "MIRROR_PAD", "PAD", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE",
    "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE",
}  # fmt: skip
"""Kinds whose inputs and outputs have one scale and zero point by TFLite's quantization specification."""


def quantization_notes(graph: Graph) -> list[str]:
    """One line for each kind of operator that changes scale or zero point though the specification forbids it, and for
    the first bias whose scale is not s_input * s_weights.

    TFLite's reference kernels move the values as they are; others, and other runtimes, bring them to the output's
    scale.
    """
    notes = [note for index, operator in enumerate(graph.operators) if (note := _bias_note(graph, index, operator))]
    found: dict[str, list[tuple[int, Tensor, Tensor]]] = {}
    for index, operator in enumerate(graph.operators):
        if operator.kind not in _KEEP:
            continue
        output = graph.tensors[operator.outputs[0]]
        for tensor in (graph.tensors[each] for each in operator.inputs if each != ABSENT):
            if not tensor.is_constant and _differ(tensor, output):
                found.setdefault(operator.kind, []).append((index, tensor, output))
                break
    return notes[:1] + [_note(kind, cases) for kind, cases in found.items()]


def _bias_note(graph: Graph, index: int, operator: Operator) -> str | None:
    """A note that a bias's scale is not the one its values are added at, where TFLite's kernel does not read it."""
    if operator.kind not in WEIGHTED:
        return None
    at = [operator.inputs[place] if place < len(operator.inputs) else ABSENT for place in WEIGHTED[operator.kind]]
    if ABSENT in at:
        return None
    source, weights, bias = (graph.tensors[each] for each in at)
    output = graph.tensors[operator.outputs[0]]
    if any(each.quantization is None or each.dtype.startswith("float") for each in (source, weights, bias, output)):
        return None
    products = float(source.required_quantization.scale[0]) * weights.required_quantization.scale.astype(np.float64)
    misfit = bias_misfit(bias, products, float(output.required_quantization.scale[0]))
    if misfit is None:
        return None
    return (
        f"operator {index} ({operator.kind}) has a bias of scale {misfit[0]:g}, where TFLite's quantization "
        f"specification asks for that of the input times that of the weights, {misfit[1]:g}; TFLite's kernels add its "
        "values at the latter, and so is done here"
    )


def _differ(one: Tensor, other: Tensor) -> bool:
    if one.dtype != other.dtype or one.dtype not in ("int8", "uint8", "int16"):
        return False
    if one.quantization is None or other.quantization is None:
        return False
    a, b = one.quantization, other.quantization
    return bool(a.scale[0] != b.scale[0] or a.zero_point[0] != b.zero_point[0])


def _note(kind: str, cases: list[tuple[int, Tensor, Tensor]]) -> str:
    index, source, output = cases[0]
    more = f" and {len(cases) - 1} more" if len(cases) > 1 else ""

    def said(tensor: Tensor) -> str:
        parameters = tensor.required_quantization
        return f"{parameters.scale[0]:g} (zero point {parameters.zero_point[0]})"

    return (
        f"operator {index} ({kind}){more} changes the scale from {said(source)} to {said(output)}, which TFLite's "
        "quantization specification forbids; the values are moved as they are, as TFLite's reference kernels do, and "
        "LiteRT's other kernels may give other values and labels"
    )
