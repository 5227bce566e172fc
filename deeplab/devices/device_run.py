"""Result of a run on a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class DeviceRun:
    """Outputs of a network on a device, and the memory it used."""

    device: str
    outputs: np.ndarray
    """uint8 (frames, bytes of all outputs)."""
    outputs_equal: bool
    """Whether the outputs of each frame are equal with both fill patterns of the arena."""
    ram_bytes: int
    """Size of the memory of arena and stack: exactly the RAM of the plan."""
    stack_room_bytes: int
    """Part of `ram_bytes` for the stack, at its bottom; a deeper stack faults."""
    stack_bytes: int
    """Deepest stack below the call of `network_run`."""
    high_water_bytes: int
    """One past the highest byte of the arena that was written for any frame."""
    guards_intact: bool
    """Whether the guard after the arena is unchanged."""

    @property
    def is_within_plan(self) -> bool:
        """Whether arena and stack stayed within the planned memory."""
        return self.guards_intact and self.outputs_equal and self.stack_bytes <= self.stack_room_bytes
