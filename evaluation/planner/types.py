"""The domain of the planner: regions of tensors, buffers in one arena, steps that read and write them, and the plan."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from evaluation.graph import Tensor


@dataclass(frozen=True)
class Region:
    """A rectangle of a tensor with all its channels: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def rows(self) -> int:
        return self.bottom - self.top

    @property
    def columns(self) -> int:
        return self.right - self.left


def extent(tensor: Tensor) -> tuple[int, int, int]:
    """(rows, columns, channels): NHWC as it stands, (1, H, W) with one channel, all else one row of one column."""
    if len(tensor.shape) == 4:
        return tensor.shape[1], tensor.shape[2], tensor.shape[3]
    if len(tensor.shape) == 3:
        return tensor.shape[1], tensor.shape[2], 1
    return 1, 1, tensor.elements


class Role(StrEnum):
    """What a buffer is for."""

    FRAME = "frame"  # the camera's picture, uint8 (H, W, 3); the run consumes it
    ACTIVATION = "activation"  # a whole tensor between sections
    TILE = "tile"  # part of a tensor, inside one tile of a section
    ROW_CACHE = "row_cache"  # rows kept from one tile for the next
    SCRATCH = "scratch"  # a kernel's working memory
    LABELS = "labels"  # the result: uint8 (H, W), whatever integer type the graph's tensor has


@dataclass(frozen=True)
class Buffer:
    """A block of the arena, live in steps [lower, upper), at bytes [offset, offset + size_bytes)."""

    name: str
    role: Role
    tensors: tuple[int, ...]
    """Graph tensors that lie here, one after another where an operator works in place; empty for scratch."""
    region: Region | None
    """The part of the tensor held: its row r, column c begins at
    ((r - top) * columns + (c - left)) * channels elements; each row begins on a whole byte."""
    size_bytes: int
    lower: int
    upper: int
    offset: int


@dataclass(frozen=True)
class Access:
    """The part of a tensor that a step reads from, or writes to, a buffer."""

    buffer: int
    tensor: int
    region: Region


@dataclass(frozen=True)
class Step:
    """One call of a kernel: one operator (or a fused run of operators) over one tile."""

    operators: tuple[int, ...]
    section: int
    tile: int
    reads: tuple[Access, ...]
    """One per non-constant input, in the operator's input order. Regions are clipped to the tensor: what lies outside
    is padding, which the kernel derives from the global geometry."""
    writes: tuple[Access, ...]
    scratch: int | None = None
    """Index of the scratch buffer."""


@dataclass(frozen=True)
class Section:
    """Operators computed together, stripe by stripe; with one tile, an ordinary run of whole operators."""

    operators: tuple[int, ...]
    tiles: int
    """Stripes actually used, at most the `tile_count` asked for."""


@dataclass(frozen=True)
class Plan:
    """A schedule with every buffer placed, and what it costs. Made by `plan`, checked by `validate`."""

    graph: str
    """Name of the network."""
    target: str
    tile_count: int
    """The bound that was asked for."""
    sections: tuple[Section, ...]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    """Highest address used."""
    weights_bytes: int
    flash_bytes: int
    """Constants and tables that stay in flash; 0 where the target loads them to RAM."""
    runtime_bytes: int
    """RAM of the C runtime beside the arena: descriptors, tables and stack, by the model in `accounting`."""
    peak_memory_bytes: int
    """arena + runtime, and weights where the target keeps them in RAM."""
    frame_bytes: int
    """The camera frame's part of the arena; where the target keeps the frame, it is held back throughout."""
    lower_bound_bytes: int
    """Largest sum of aligned sizes alive at one step of this schedule: no placement of it has a smaller arena."""
    macs: int
    mac_overhead: float
    """Share of MACs beyond those of the untiled network, from rows computed twice. Below 0 where stripes leave out rows
    that nothing reads."""
    high_water_step: int
    """First step with `lower_bound_bytes` alive."""
    high_water_buffers: tuple[int, ...]
    """Buffers alive there, the largest first."""
    live_bytes: tuple[int, ...]
    """Sum of aligned sizes alive at each step."""

    @property
    def gap(self) -> float:
        """How far the arena lies above its lower bound, as a share of the bound."""
        return self.arena_bytes / self.lower_bound_bytes - 1 if self.lower_bound_bytes else 0.0

    @property
    def proven(self) -> bool:
        """Whether no smaller arena exists for this schedule."""
        return self.arena_bytes == self.lower_bound_bytes

    @property
    def frame_kept(self) -> bool:
        """Whether the camera frame outlives the run."""
        return any(buffer.role is Role.FRAME and buffer.upper == len(self.steps) for buffer in self.buffers)

    def to_dict(self) -> dict[str, Any]:
        """Everything in the plan as JSON-ready values, `gap` and `proven` added for whoever reads it."""
        return asdict(self) | {"gap": self.gap, "proven": self.proven}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Plan:
        """The plan that `to_dict` described, equal to it in every field."""

        def access(value: dict[str, Any]) -> Access:
            return Access(value["buffer"], value["tensor"], Region(**value["region"]))

        def step(value: dict[str, Any]) -> Step:
            reads, writes = (tuple(access(a) for a in value[name]) for name in ("reads", "writes"))
            return Step(tuple(value["operators"]), value["section"], value["tile"], reads, writes, value["scratch"])

        def buffer(value: dict[str, Any]) -> Buffer:
            region = None if value["region"] is None else Region(**value["region"])
            return Buffer(**value | {"role": Role(value["role"]), "tensors": tuple(value["tensors"]), "region": region})

        fields = {name: value for name, value in values.items() if name not in ("gap", "proven")}
        return Plan(
            **fields
            | {
                "sections": tuple(Section(tuple(s["operators"]), s["tiles"]) for s in values["sections"]),
                "steps": tuple(step(s) for s in values["steps"]),
                "buffers": tuple(buffer(b) for b in values["buffers"]),
                "high_water_buffers": tuple(values["high_water_buffers"]),
                "live_bytes": tuple(values["live_bytes"]),
            }
        )
