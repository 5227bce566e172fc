"""Place a list of buffers from a file: `python -m evaluation.planner --solve buffers.csv --capacity N`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from evaluation.errors import UserError
from evaluation.planner.buffers_csv import read_buffers, write_buffers
from evaluation.planner.offsets import place

SOLVED, NOT_SOLVED = 0, 1


def solve_file(
    path: str | Path, capacity_bytes: int, timeout_s: float | None = None, out_path: str | Path | None = None
) -> int:
    """Place the buffers listed in `path` within `capacity_bytes`, print one line, and write the best found.

    Returns 0 if a placement no higher than the capacity was found, else 1: none was found in `timeout_s` (None: no
    limit), or none exists, which the line says where it is proven. Raises `UserError` for a bad list or argument.
    """
    if capacity_bytes < 0:
        raise UserError(f"--capacity is {capacity_bytes}; a capacity in bytes is 0 or more")
    if timeout_s is not None and not timeout_s >= 0:
        raise UserError(f"--timeout is {timeout_s}; a time limit in seconds is 0 or more")
    listed = read_buffers(path)
    began = time.monotonic()
    # Without a time limit, search until it is decided.
    limit = float("inf") if timeout_s is None else timeout_s
    placement = place([buffer.block for buffer in listed], timeout_s=limit, capacity_bytes=capacity_bytes)
    seconds = time.monotonic() - began
    if out_path is not None:
        offsets = zip(listed, placement.offsets, strict=True)
        write_buffers(out_path, [replace(buffer, offset=offset) for buffer, offset in offsets])
    solved = placement.height_bytes <= capacity_bytes
    if solved:
        verdict = f"solved at capacity {capacity_bytes}"
    elif placement.bound_bytes > capacity_bytes:
        verdict = f"proven infeasible at capacity {capacity_bytes}"
    else:
        verdict = f"not solved at capacity {capacity_bytes}"
    proven = "proven least" if placement.proven else "not proven least"
    print(
        f"{verdict}: height {placement.height_bytes}, bound {placement.bound_bytes}, gap {placement.gap:.2%}, "
        f"{proven}, {seconds:.2f} s"
    )
    return SOLVED if solved else NOT_SOLVED
