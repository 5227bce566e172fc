"""From a schedule to the figures a user is shown.

`runtime_bytes` is a **model**: the C runtime that it describes is not written yet. It counts what such a runtime
must hold beside arena and weights, from the constants below: a descriptor for each kernel call (operands, geometry,
where its constants are), an entry for each step (the call, its tile's rows), an offset for each item (buffers that lie
at fixed distances from one base need one offset), and a bound on its stack. The table entries lie with the weights (RAM
or flash, as the target says); the stack is always RAM.
"""

from __future__ import annotations

from dataclasses import dataclass

from evaluation.planner.targets import Target

DESCRIPTOR_BYTES = 64
"""For each kernel call: operands, geometry, requantisation, place of its constants; 16 words of 32 bits."""
STEP_BYTES = 8
"""For each step: call, tile, first row and number of rows; 4 half-words."""
ITEM_BYTES = 4
"""For each item: its offset."""
STACK_BYTES = 1024
"""Bound on the deepest call chain: run, kernel, inner loop."""


@dataclass(frozen=True)
class Account:
    """The memory of a plan by kind; `peak_memory_bytes` is the sum of what is RAM."""

    weights_bytes: int
    flash_bytes: int
    runtime_bytes: int
    peak_memory_bytes: int


def account(target: Target, arena_bytes: int, weights_bytes: int, *, calls: int, steps: int, items: int) -> Account:
    """Memory by the target's rules. `runtime_bytes` is modelled (see the module's text)."""
    tables = DESCRIPTOR_BYTES * calls + STEP_BYTES * steps + ITEM_BYTES * items
    if target.weights_in_ram:
        runtime = tables + STACK_BYTES
        return Account(weights_bytes, 0, runtime, arena_bytes + weights_bytes + runtime)
    return Account(weights_bytes, weights_bytes + tables, STACK_BYTES, arena_bytes + STACK_BYTES)
