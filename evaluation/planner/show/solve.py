"""Place a list of buffers from a file: `python -m evaluation.planner --solve buffers.csv --capacity N`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from evaluation.errors import UserError
from evaluation.planner.placement import Placement, place, placement_fault
from evaluation.planner.placement.deadline import place_within
from evaluation.planner.show.buffers_csv import LARGEST, read_buffers, write_buffers

SOLVED, NOT_SOLVED = 0, 1
_CHECKING_S_PER_BUFFER = 2e-5
"""Time kept back for checking the answer and writing it."""


def solve_file(
    path: str | Path, capacity_bytes: int, timeout_s: float | None = None, out_path: str | Path | None = None
) -> int:
    """Place the buffers listed in `path` within `capacity_bytes`, print one line, and write the best found.

    Args:
        timeout_s: seconds for all of it, from reading to writing, kept within a second; None: no limit.

    Returns:
        0 if a placement no higher than the capacity was found, and the overlap check agrees; else 1: none was found in
        time, or none exists, which the line says where it is proven.

    Raises:
        UserError: a bad list or argument.
    """
    began = time.monotonic()
    if not 0 <= capacity_bytes <= LARGEST:
        raise UserError(f"--capacity is {_short(capacity_bytes)}; a capacity in bytes is 0 or more, and below 2^63")
    if timeout_s is not None and not timeout_s >= 0:
        raise UserError(f"--timeout is {timeout_s}; a time limit in seconds is 0 or more")
    listed = read_buffers(path)
    blocks = [buffer.block for buffer in listed]
    largest = max(listed, key=lambda buffer: buffer.block.size_bytes, default=None)
    if largest is not None and largest.block.size_bytes > capacity_bytes:
        size = largest.block.size_bytes
        raise UserError(f"--capacity {capacity_bytes} is less than buffer {largest.id[:40]} alone takes, {size} bytes")
    if timeout_s is None:  # search until it is decided
        placement = place(blocks, timeout_s=float("inf"), capacity_bytes=capacity_bytes)
    else:
        left = timeout_s - (time.monotonic() - began) - _CHECKING_S_PER_BUFFER * len(blocks)
        placement = place_within(blocks, max(left, 0.0), capacity_bytes)
    fault = placement_fault(blocks, placement.offsets, placement.height_bytes)
    if fault is not None:
        raise UserError(
            f"{path}: the placement found is false ({fault}); this is a mistake of the program, please report it"
        )
    if out_path is not None:
        offsets = zip(listed, placement.offsets, strict=True)
        write_buffers(out_path, [replace(buffer, offset=offset) for buffer, offset in offsets])
    print(_result_line(placement, capacity_bytes, time.monotonic() - began))
    return SOLVED if placement.height_bytes <= capacity_bytes else NOT_SOLVED


def _result_line(placement: Placement, capacity_bytes: int, seconds: float) -> str:
    if placement.height_bytes <= capacity_bytes:
        result = f"solved at capacity {capacity_bytes}"
    elif placement.bound_bytes > capacity_bytes:
        result = f"proven infeasible at capacity {capacity_bytes}"
    else:
        result = f"not solved at capacity {capacity_bytes}"
    proven = "proven least" if placement.proven else "not proven least"
    return (
        f"{result}: height {placement.height_bytes}, bound {placement.bound_bytes}, gap {placement.gap:.2%}, "
        f"{proven}, {seconds:.2f} s"
    )


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**20 else "a number of more than 20 digits"
