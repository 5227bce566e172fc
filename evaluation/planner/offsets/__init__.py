"""Offsets for the buffers of one arena: heuristics first, then an exact search that can be stopped at any time."""

from evaluation.planner.offsets.blocks import Block, Placement, load_bytes
from evaluation.planner.offsets.check import placement_fault
from evaluation.planner.offsets.place import place

__all__ = ["Block", "Placement", "load_bytes", "place", "placement_fault"]
