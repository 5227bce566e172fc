"""Blocks to place, their placement, and the lower bound that needs no search."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A buffer to place: alive in steps [lower, upper)."""

    lower: int
    upper: int
    size_bytes: int


@dataclass(frozen=True)
class Placement:
    """Offsets in the order of the blocks given."""

    offsets: tuple[int, ...]
    height_bytes: int
    """Highest end."""
    load_bytes: int
    """Largest sum of sizes alive at one time: no placement can be lower."""
    bound_bytes: int
    """Best lower bound known: the load, or more where exhausted search has shown that nothing lower exists."""

    def __post_init__(self) -> None:
        if self.height_bytes < self.bound_bytes:
            raise ValueError(f"a height of {self.height_bytes} below its bound of {self.bound_bytes} cannot be")

    @property
    def proven(self) -> bool:
        """Whether no lower placement exists."""
        return self.height_bytes == self.bound_bytes

    @property
    def gap(self) -> float:
        """The part of the height above the bound, as a share of the bound."""
        return self.height_bytes / self.bound_bytes - 1 if self.bound_bytes else 0.0


def load_bytes(blocks: list[Block]) -> int:
    """Largest sum of sizes alive at one time."""
    events: dict[int, int] = {}
    for block in blocks:
        events[block.lower] = events.get(block.lower, 0) + block.size_bytes
        events[block.upper] = events.get(block.upper, 0) - block.size_bytes
    load = highest = 0
    for time in sorted(events):
        load += events[time]
        highest = max(highest, load)
    return highest
