"""Offsets for the buffers of one arena: heuristics first, then an exact search that can be stopped at any time."""

from evaluation.planner.placement.blocks import Block, Placement, load_bytes
from evaluation.planner.placement.overlap import placement_fault
from evaluation.planner.placement.place import place

__all__ = ["Block", "Placement", "load_bytes", "place", "placement_fault"]
