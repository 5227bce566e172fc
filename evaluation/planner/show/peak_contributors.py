"""Contributors to the peak: the step at which most bytes are alive, and the tensors alive there, in words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Buffer, Role, Step


@dataclass(frozen=True)
class Holder:
    """One tensor, or one kernel's working memory, and its bytes at the high-water step."""

    name: str
    shape: str
    """Rows x columns x channels of the whole tensor, and the rows that are held where these are fewer. Empty for
    scratch and accumulators."""
    role: Role
    size_bytes: int
    """All its buffers together: a tensor may be in several chunks of rows."""
    buffers: tuple[int, ...]


def holders(graph: Graph, plan: Plan) -> tuple[Holder, ...]:
    """Everything alive at `plan.high_water_step`, the largest first; chunks of one tensor are one entry."""
    groups: dict[tuple[Role, str, tuple[int, ...]], list[int]] = {}
    for index in plan.high_water_buffers:
        buffer = plan.buffers[index]
        key = (buffer.role, "" if buffer.tensors else buffer.name, buffer.tensors[:1])
        groups.setdefault(key, []).append(index)
    found = [_holder(graph, plan, indices) for indices in groups.values()]
    return tuple(sorted(found, key=lambda holder: (-holder.size_bytes, holder.buffers)))


def step_name(graph: Graph, plan: Plan, index: int) -> str:
    """A step in words: its operators, its section and its tile."""
    step = plan.steps[index]
    section = plan.sections[step.section]
    place = f"section {step.section + 1}" if len(plan.sections) > 1 else ""
    tile = f"tile {step.tile + 1} of {section.tiles}" if section.tiles > 1 else ""
    return ", ".join(part for part in (_action(graph, step), tile, place) if part)


def short_name(name: str) -> str:
    """The layer's part of a converter's long tensor name: the last part without suffixes of the computation."""
    parts = [part for part in name.split(";")[0].split("/") if part]
    while len(parts) > 1 and (_is_detail(parts[-1]) or parts[-1] == parts[-2]):
        parts.pop()
    return "/".join(parts[-2:]) if parts else name


def tensor_shape(graph: Graph, buffer: Buffer) -> str:
    """The shape of a buffer's tensor, such as `64x64x96`; empty for scratch."""
    if not buffer.tensors:
        return ""
    shape = graph.tensors[buffer.tensors[0]].shape
    return "x".join(str(size) for size in (shape[1:] if len(shape) > 1 else shape))


def megabytes(size_bytes: int) -> str:
    """10^6 bytes to a precision of about a kilobyte, finer where there is little."""
    return f"{size_bytes / 1e6:.3f}" if size_bytes >= 1e6 else f"{size_bytes / 1e6:.4f}"


_DETAIL = re.compile(
    r"(separable_?)?conv2d|biasadd|relu6?|matmul|batch_?norm|fusedbatchnorm(v3)?|identity", re.IGNORECASE
)
"""Suffix of converters to a layer's name; a layer that is itself called so carries a number after an underscore."""


def _is_detail(part: str) -> bool:
    return _DETAIL.fullmatch(part.rstrip("0123456789")) is not None or _DETAIL.fullmatch(part) is not None


def _action(graph: Graph, step: Step) -> str:
    if not step.operators:
        return f"copy of {short_name(graph.tensors[step.reads[0][0].tensor].name)}"
    kinds = "+".join(graph.operators[operator].kind for operator in step.operators)
    return f"{kinds} {short_name(graph.tensors[graph.operators[step.operators[-1]].outputs[0]].name)}"


def _holder(graph: Graph, plan: Plan, indices: list[int]) -> Holder:
    buffers = [plan.buffers[index] for index in indices]
    first = buffers[0]
    size = sum(buffer.size_bytes for buffer in buffers)
    return Holder(_name(graph, first), _held(graph, buffers), first.role, size, tuple(indices))


def _name(graph: Graph, buffer: Buffer) -> str:
    return short_name(graph.tensors[buffer.tensors[0]].name if buffer.tensors else buffer.name)


def _held(graph: Graph, buffers: list[Buffer]) -> str:
    shape = tensor_shape(graph, buffers[0])
    regions = [buffer.region for buffer in buffers if buffer.region is not None]
    if not shape or not regions:
        return shape
    held = sum(region.rows for region in regions)
    rows = graph.tensors[buffers[0].tensors[0]].shape[1:2]
    if not rows or "x" not in shape or held >= rows[0]:
        return shape
    return f"{shape}, {held} row{'s' if held > 1 else ''}"
