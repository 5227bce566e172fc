"""The domain of the planner: regions of tensors, buffers in one arena, steps that read and write them, and the plan."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from evaluation.graph.regions import Region


class Role(StrEnum):
    """What a buffer is for."""

    FRAME = "frame"  # the camera's image, uint8 (H, W, 3), or rows of it; the run consumes it
    EXTERNAL_FRAME = "external_frame"  # a frame that the target does not count: it is outside the arena
    ACTIVATION = "activation"  # a tensor between sections, or rows of it
    TILE = "tile"  # part of a tensor, inside one tile of a section
    ROW_CACHE = "row_cache"  # a ring of rows kept from one tile for the next
    ACCUMULATOR = "accumulator"  # accumulators of a global pool, from the first tile of its section to the last
    SCRATCH = "scratch"  # a kernel's working memory, in one step
    LABELS = "labels"  # the result: uint8 (H, W), or rows of it, whatever integer type the graph's tensor has


@dataclass(frozen=True)
class Buffer:
    """A block of the arena, live in steps [lower, upper), at bytes [offset, offset + size_bytes)."""

    name: str
    role: Role
    tensors: tuple[int, ...]
    """Graph tensors that are here. The first, the *host*, gives the layout: its columns and channels. The others are in
    its place one after another where an operator works in place, or are channel slices of it where a concatenation is
    elided. Empty for scratch and accumulators."""
    region: Region | None
    """The part of the host held. Row r, column c begins at ((r - top) * columns + (c - left)) * channels elements; each
    row begins on a whole byte. A tensor that lives in chunks of rows has a buffer for each chunk, and all of them are
    where the rows of the whole tensor would. A row cache holds rows [0, K), used as a ring: row r of the tensor is its
    row r mod K."""
    size_bytes: int
    lower: int
    upper: int
    offset: int

    @property
    def required_region(self) -> Region:
        """`region`, for code that works on buffers with tensors only.

        Raises:
            ValueError: the buffer has none, as it is working memory.
        """
        if self.region is None:
            raise ValueError(f"buffer {self.name} ({self.role}) holds no tensor")
        return self.region


@dataclass(frozen=True)
class Access:
    """The part of a tensor that a step reads from, or writes to, one buffer."""

    buffer: int
    tensor: int
    region: Region
    """In the tensor's own rows and columns, also where the buffer is a ring."""
    channel: int = 0
    """The host's channel at which the tensor's channels begin; not 0 only for slices of an elided concatenation."""


@dataclass(frozen=True)
class Step:
    """One call of a kernel over one tile.

    The kernel computes one operator, or a fused run of operators, over the region of its `writes`. Two kinds of step
    differ:
    - a *copy* has no operators: it brings rows from the buffers it reads to those it writes (a tile's last rows into
      a row cache; an input of a concatenation into its slice, where the two are quantized alike);
    - one step of a *running reduction* (a global pool, tile by tile) adds the region it reads to its accumulator, and
      writes nothing until the region that completes the input.
    """

    operators: tuple[int, ...]
    section: int
    tile: int
    reads: tuple[tuple[Access, ...], ...]
    """One group per non-constant input, in the operator's input order. The accesses of a group are consecutive rows of
    one tensor, top to bottom, all of the same columns. Regions are clipped to the tensor: what is outside is padding,
    which the kernel derives from the global geometry."""
    writes: tuple[Access, ...]
    """Consecutive rows of one tensor, top to bottom, all of the same columns. (An operator with several outputs writes
    each of them whole, in order.)"""
    scratch: int | None = None
    """Index of the scratch buffer."""
    accumulator: int | None = None
    """Index of the accumulator of a running reduction."""


class Halo(StrEnum):
    """Where a tile's neighbouring rows come from."""

    NONE = "none"  # one tile: there are no neighbours
    CACHE = "cache"  # kept from the tile before (StreamNet, NeurIPS 2023)
    RECOMPUTE = "recompute"  # computed again (MCUNetV2, NeurIPS 2021)
    MIXED = "mixed"  # narrow tensors' rows kept, wide ones (a block's expansion) computed again from them


@dataclass(frozen=True)
class Section:
    """Operators computed together, tile by tile; with one tile, an ordinary run of whole operators."""

    operators: tuple[int, ...]
    """Graph operators in the order they run; an operator whose output is computed a second time stands in both
    sections."""
    rows: int
    """Row tiles of rows."""
    columns: int
    """Column tiles; halo columns are computed again. Where rows are kept, column tiles are the outer loop: all row
    tiles of one column tile run before the next column tile, and a cache holds the rows of one column tile only. Where
    rows are computed again, row tiles are the outer loop, so that what is read makes room for what is written row by
    row."""
    halo: Halo

    @property
    def tiles(self) -> int:
        """Tiles actually used, at most the `tile_count` asked for."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Plan:
    """A schedule with every buffer placed, and what it costs. Made by `plan`, checked by `validate`."""

    graph: str
    """Name of the network."""
    target: str
    tile_count: int
    """The bound that was asked for; for "auto", the most tiles that any section uses."""
    tiling: str
    """What was allowed: "cache", "recompute" or "mixed"."""
    sections: tuple[Section, ...]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    """Highest address used."""
    weights_bytes: int
    flash_bytes: int
    """Constants and tables that stay in flash; 0 where the target loads them to RAM."""
    runtime_bytes: int
    """RAM of the C runtime in addition to the arena: descriptors, tables and stack, by the model in `accounting`."""
    peak_memory_bytes: int
    """arena + runtime, and weights where the target keeps them in RAM."""
    frame_bytes: int
    """The camera frame's part of the arena; where the target keeps the frame, it is held back throughout."""
    lower_bound_bytes: int
    """Largest of `live_bytes`, in whole alignment units: no placement of this schedule has a smaller arena."""
    macs: int
    mac_overhead: float
    """Share of MACs beyond those of the untiled network, from rows, columns or tensors computed twice. Below 0 where
    tiles leave out rows that nothing reads."""
    order_proven: bool
    """Whether no order of the operators has a smaller untiled peak (see `order`)."""
    high_water_step: int
    """First step with the most bytes alive."""
    high_water_buffers: tuple[int, ...]
    """Buffers alive there, the largest first."""
    live_bytes: tuple[int, ...]
    """Sum of sizes alive at each step; each in whole alignment units, unless some tensor lives in chunks of rows."""

    @property
    def gap(self) -> float:
        """How far the arena is above its lower bound, as a share of the bound."""
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
        """`to_dict` as JSON, without the copy of every part that it would make."""
        whole = vars(self) | {"gap": self.gap, "proven": self.proven}
        return json.dumps(whole, default=vars, separators=(",", ":"))

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Plan:
        """The plan that `to_dict` described, equal to it in every field."""

        def access(value: dict[str, Any]) -> Access:
            return Access(**value | {"region": Region(**value["region"])})

        def step(value: dict[str, Any]) -> Step:
            reads = tuple(tuple(access(a) for a in group) for group in value["reads"])
            writes = tuple(access(a) for a in value["writes"])
            held = value["scratch"], value["accumulator"]
            return Step(tuple(value["operators"]), value["section"], value["tile"], reads, writes, *held)

        def section(value: dict[str, Any]) -> Section:
            return Section(**value | {"operators": tuple(value["operators"]), "halo": Halo(value["halo"])})

        def buffer(value: dict[str, Any]) -> Buffer:
            region = None if value["region"] is None else Region(**value["region"])
            return Buffer(**value | {"role": Role(value["role"]), "tensors": tuple(value["tensors"]), "region": region})

        fields = {name: value for name, value in values.items() if name not in ("gap", "proven")}
        return Plan(
            **fields
            | {
                "sections": tuple(section(s) for s in values["sections"]),
                "steps": tuple(step(s) for s in values["steps"]),
                "buffers": tuple(buffer(b) for b in values["buffers"]),
                "high_water_buffers": tuple(values["high_water_buffers"]),
                "live_bytes": tuple(values["live_bytes"]),
            }
        )
