"""Bounds on the stack of the C program, from a generated table: instruction set, compiler, kernel -> bytes.

`python -m deeplab.runtime.stack_table` writes the table (`stack_bounds.json`); nothing in it is typed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from evaluation.kernels.constants import FEW_OPERANDS

TABLE = Path(__file__).with_name("stack_bounds.json")


@dataclass(frozen=True)
class KernelUse:
    """A call of the program, as far as its stack goes."""

    kernel: str
    """C name."""
    operands: int
    """Tensors that it reads or writes in the arena."""


@dataclass(frozen=True)
class BuildStack:
    """The stack of one build of the program, in bytes."""

    few_bytes: int
    """From the program's entry to the call of a kernel with at most `FEW_OPERANDS` operands, all frames included."""
    many_bytes: int
    """The same of a kernel with more operands."""
    kernels: Mapping[str, int]
    """The deepest call chain that begins with a kernel, by the kernel's C name."""

    def bound_bytes(self, uses: Iterable[KernelUse]) -> int:
        """The deepest stack of a program that calls these kernels; a kernel that is unknown counts as the largest."""
        largest = max(self.kernels.values())
        chains = [
            (self.few_bytes if use.operands <= FEW_OPERANDS else self.many_bytes)
            + self.kernels.get(use.kernel, largest)
            for use in uses
        ]
        return max(chains, default=self.few_bytes)

    def joined(self, other: BuildStack) -> BuildStack:
        """What holds for both builds: the larger of each figure."""
        kernels = {
            name: max(self.kernels.get(name, 0), other.kernels.get(name, 0))
            for name in sorted({*self.kernels, *other.kernels})
        }
        return BuildStack(max(self.few_bytes, other.few_bytes), max(self.many_bytes, other.many_bytes), kernels)


@dataclass(frozen=True)
class StackRow:
    """What one compiler makes for one instruction set."""

    compiler: str
    """Name and version, as `gcc 12.2.0`."""
    flags: tuple[tuple[str, ...], ...]
    """Of each build; `stack` holds for all of them."""
    stack: BuildStack
    library: Mapping[str, int]
    """Bytes of functions that the compiler takes from its libraries."""


@dataclass(frozen=True)
class StackTable:
    """The whole table."""

    rows: Mapping[str, tuple[StackRow, ...]]
    """By instruction set."""

    def bound_bytes(self, instruction_set: str, uses: Iterable[KernelUse], compiler: str | None = None) -> int:
        """The deepest stack of these kernels: the largest of all compilers, or that of the one named.

        Raises:
            KeyError: the table has no such instruction set, or not with this compiler.
        """
        uses = list(uses)
        rows = [row for row in self.rows[instruction_set] if compiler in (None, row.compiler)]
        if not rows:
            raise KeyError(f"{instruction_set}, {compiler}")
        return max(row.stack.bound_bytes(uses) for row in rows)


def read_table(path: Path = TABLE) -> StackTable:
    """The table as `to_json` wrote it."""
    found = json.loads(path.read_text(encoding="utf-8"))
    return StackTable({
        name: tuple(
            StackRow(
                row["compiler"],
                tuple(tuple(flags) for flags in row["flags"]),
                BuildStack(row["few_bytes"], row["many_bytes"], row["kernels"]),
                row["library"],
            )
            for row in rows
        )
        for name, rows in found["instruction_sets"].items()
    })  # fmt: skip


def to_json(table: StackTable) -> str:
    """The table as text, one line for each figure."""
    sets = {
        name: [
            {
                "compiler": row.compiler,
                "flags": [list(flags) for flags in row.flags],
                "few_bytes": row.stack.few_bytes,
                "many_bytes": row.stack.many_bytes,
                "kernels": dict(row.stack.kernels),
                "library": dict(row.library),
            }
            for row in rows
        ]
        for name, rows in table.rows.items()
    }
    written_by = "python -m deeplab.runtime.stack_table"
    return json.dumps({"written_by": written_by, "instruction_sets": sets}, indent=1) + "\n"


@cache
def stack_table() -> StackTable:
    """The table of this version of the kernels."""
    return read_table()


def stack_bound_bytes(instruction_set: str, uses: Iterable[KernelUse]) -> int:
    """The deepest stack of these kernels on an instruction set, with any of the compilers listed."""
    return stack_table().bound_bytes(instruction_set, uses)


def instruction_sets() -> tuple[str, ...]:
    """Those that the table knows."""
    return tuple(stack_table().rows)
