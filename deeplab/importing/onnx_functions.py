"""Functions that an ONNX model brings along, put in the place of their calls; some exporters write one a layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx.inliner

from evaluation.errors import UserError

MOST_NODES = 100_000
"""Nodes of a model, functions put in their place."""


def inlined(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without functions of its own: each call replaced by the nodes of the function."""
    if not model.functions:
        return model
    if _expanded_nodes(model) > MOST_NODES:
        raise UserError(f"{path}: its functions call each other without end, or make more than {MOST_NODES:,} nodes")
    try:
        return onnx.inliner.inline_local_functions(model, convert_version=True)
    except Exception as error:  # of another project, about whatever is wrong in the file
        raise damaged(path, error) from None


def _expanded_nodes(model: onnx.ModelProto) -> int:
    """Number of nodes with all functions in their place; more than the most where they call each other in a circle."""
    bodies = {(own.domain, own.name): own.node for own in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    for _ in range(len(bodies) + 1):
        for key, body in bodies.items():
            called = [(node.domain, node.op_type) for node in body]
            sizes[key] = min(sum(sizes.get(name, 1) if name in bodies else 1 for name in called), MOST_NODES + 1)
    nodes = sum(sizes.get((node.domain, node.op_type), 1) for node in model.graph.node)
    return MOST_NODES + 1 if _calls_itself(bodies) else nodes


def _calls_itself(bodies: dict[tuple[str, str], Any]) -> bool:
    calls = {key: {(node.domain, node.op_type) for node in body} & bodies.keys() for key, body in bodies.items()}
    while calls:
        ends = {key for key, called in calls.items() if not called & calls.keys()}
        if not ends:
            return True
        calls = {key: called for key, called in calls.items() if key not in ends}
    return False


def damaged(path: Path, error: Exception) -> UserError:
    """What another project's reader says about a file, as a refusal."""
    reason = " ".join(str(error).split())[:160]
    return UserError(f"{path}: damaged, or not built as an ONNX model is ({reason}); export it again")
