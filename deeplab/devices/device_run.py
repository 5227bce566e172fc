"""Results of a run on a device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class DeviceRun:
    """Outputs of a network on a device, and the memory that it took there."""

    device: str
    outputs: np.ndarray
    """uint8 (frames, bytes of all outputs)."""
    outputs_equal: bool
    """Whether each frame's outputs are the same with either pattern in the arena before."""
    ram_bytes: int
    """Size of the memory that arena and stack were linked into: exactly the RAM of the plan."""
    stack_room_bytes: int
    """The part of `ram_bytes` left for the stack, at its bottom: a deeper stack leaves the memory and faults."""
    stack_bytes: int
    """Deepest stack, from the call of `network_run` on."""
    high_water_bytes: int
    """One past the highest byte of the arena that was touched, on any frame."""
    guards_intact: bool
    """Whether the memory behind the arena was left as it was."""

    @property
    def is_within_plan(self) -> bool:
        """Whether arena and stack stayed within the planned memory."""
        return self.guards_intact and self.outputs_equal and self.stack_bytes <= self.stack_room_bytes
