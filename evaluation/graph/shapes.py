"""Check that the shapes a file states are those its operators compute.

The planner's geometry and the interpreter's loops rest on this: a file whose convolution output has one row too many
would be planned as reading beyond its input. Kinds without a rule (recurrent cells, lookups, sampling) are taken at the
file's word; nothing that looks into their geometry plans them.
"""

from __future__ import annotations

from evaluation.graph import shape_rules, shape_rules_of_layout
from evaluation.graph.input_counts import ANY, INPUT_COUNTS
from evaluation.graph.shape_rules import InputShapes, Shape, window_outputs
from evaluation.graph.types import ABSENT, Graph

__all__ = ["check_shapes", "window_outputs"]

_RULES = shape_rules.RULES | shape_rules_of_layout.RULES
_MISFITS = (IndexError, ValueError, KeyError, AttributeError, TypeError, ZeroDivisionError, OverflowError)


def check_shapes(graph: Graph) -> None:
    """Raise ValueError, naming the operator, where an output's shape contradicts its inputs and attributes."""
    for index, operator in enumerate(graph.operators):
        least, most = INPUT_COUNTS.get(operator.kind, (0, len(operator.inputs)))
        if not least <= len(operator.inputs) <= most:
            takes = f"{least}" if least == most else f"{least} to {most}" if most < ANY else f"at least {least}"
            raise ValueError(f"operator {index} ({operator.kind}) has {len(operator.inputs)} inputs; it takes {takes}")
        rule = _RULES.get(operator.kind)
        if rule is None:
            continue
        inputs = InputShapes([graph.tensors[i] if i != ABSENT else None for i in operator.inputs])
        outputs = [graph.tensors[i] for i in operator.outputs]
        try:
            expected = [_plain(shape) for shape in rule(operator, inputs, outputs)]
        except _MISFITS as error:
            reason = "an input is missing" if isinstance(error, AttributeError | IndexError) else error
            raise ValueError(f"operator {index} ({operator.kind}) has inputs that do not fit it: {reason}") from None
        stated = [tensor.shape for tensor in outputs]
        if expected != stated:
            raise ValueError(
                f"operator {index} ({operator.kind}) computes {_said(expected)} but its output has {_said(stated)}"
            )


def _plain(shape: Shape) -> tuple[int, ...]:
    return tuple(int(size) for size in shape)


def _said(shapes: list[tuple[int, ...]]) -> str:
    return f"shape {shapes[0]}" if len(shapes) == 1 else f"{len(shapes)} shapes {shapes}"
