"""Terminal output of the command: location of the program, comparison with the interpreter, and latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table

from deeplab.runtime.agreement import Agreement


def show_written(out: Path, is_segmentation: bool, console: Console) -> None:
    """Print where the program was written, and the commands that build and run it."""
    run = "image.ppm labels.png" if is_segmentation else "--raw input.bin output.bin"
    lines = [f"{out}: written; `make -C {out}` builds it, `{out}/network {run}` runs it, README.md says more"]
    _note(console, *lines)


def show_agreement(found: Sequence[Agreement], what: str, console: Console) -> None:
    """Print a row for each input, and whether all are equal."""
    table = Table(
        title="the C program next to the numpy interpreter, bit for bit", box=SIMPLE_HEAD, padding=(0, 0, 0, 1)
    )
    columns: tuple[tuple[str, JustifyMethod], ...] = (
        ("input", "left"),
        ("equal", "right"),
        (f"of {what}", "right"),
        ("share", "right"),
    )
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=name != "input")
    for one in found:
        share = "all" if one.equal == one.values else f"[bold red]{one.share:.6f}[/bold red]"
        table.add_row(one.name, f"{one.equal:,}", f"{one.values:,}", share)
    console.print(table)
    equal, values = sum(one.equal for one in found), sum(one.values for one in found)
    if equal == values:
        _note(console, f"all {values:,} {what} of {len(found)} inputs are equal")
    else:
        _note(console, f"DIFFERENT: {values - equal:,} of {values:,} {what} of {len(found)} inputs")


def show_times(seconds: Mapping[str, float], problems: Sequence[str], rounds: int, console: Console) -> None:
    """Print a row for each program, with its time relative to the first."""
    title = f"ms a run, one thread, median of {rounds} turns"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    first = next(iter(seconds.values()))
    columns: tuple[tuple[str, JustifyMethod], ...] = (("program", "left"), ("ms", "right"), ("of the first", "right"))
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True)
    for name, taken in seconds.items():
        table.add_row(name, f"{1e3 * taken:.2f}", f"x{taken / first:.3f}")
    console.print(table)
    _note(console, *(f"not timed: {problem}" for problem in problems))


def _note(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
