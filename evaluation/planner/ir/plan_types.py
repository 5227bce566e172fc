"""The plan: sections of calls in tiles, buffers placed in one arena, and the cost in memory and MACs."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property

from evaluation.json_codec import from_json
from evaluation.planner.ir.former_plans import from_version_1
from evaluation.planner.ir.sections import BufferGroup, Section, steps_of
from evaluation.planner.ir.steps import Buffer, Role, Step

VERSION = 2
"""Version of the JSON format."""


@dataclass(frozen=True)
class Plan:
    """A schedule with every buffer placed, and its cost. Made by `plan`, checked by `validate`."""

    graph: str
    """Name of the network."""
    target: str
    tile_count: int
    """The bound that was asked for; for "auto", the most tiles that any section uses."""
    tiling: str
    """Treatment of halos that was allowed: "cache", "recompute" or "mixed"."""
    sections: tuple[Section, ...]
    groups: tuple[BufferGroup, ...]
    """Buffer groups that the sections' calls refer to."""
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
    """Buffers alive at `high_water_step`, the largest first."""
    live_bytes: tuple[int, ...]
    """Sum of sizes alive at each step; each in whole alignment units, unless some tensor lives in chunks of rows."""

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The run, call by call: the sections' loops written out.

        Raises:
            IndexError: a call refers to a table or buffer that its section or group lacks.
        """
        return tuple(steps_of(self.sections, self.groups, self.buffers))

    @property
    def gap(self) -> float:
        """The part of the arena above its lower bound, as a share of the bound."""
        return self.arena_bytes / self.lower_bound_bytes - 1 if self.lower_bound_bytes else 0.0

    @property
    def proven(self) -> bool:
        """Whether no smaller arena exists for this schedule."""
        return self.arena_bytes == self.lower_bound_bytes

    @property
    def frame_kept(self) -> bool:
        """Whether the camera frame outlives the run."""
        return any(buffer.role is Role.FRAME and buffer.upper == len(self.steps) for buffer in self.buffers)

    def to_json(self) -> str:
        """The plan as JSON on one line; `gap` and `proven` are added for readers of the file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        derived = {"gap": self.gap, "proven": self.proven}
        return json.dumps({"version": VERSION} | values | derived, default=vars, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | bytes) -> Plan:
        """The plan that `to_json` wrote, equal to it in every field. Plans of version 1, which list their steps, are
        read, too.

        Raises:
            ValueError: the text is no plan.
        """
        values = json.loads(text)
        version = values.get("version", 1) if isinstance(values, dict) else None
        if version == 1:
            text = json.dumps(from_version_1(values), default=vars)
        elif version != VERSION:
            raise ValueError(f"no plan of version 1 or {VERSION}")
        return from_json(Plan, text)
