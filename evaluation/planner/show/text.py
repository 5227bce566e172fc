"""The planner's figures as tables for a terminal of 100 columns, or 80."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.sections import Halo
from evaluation.planner.ir.steps import Role
from evaluation.planner.show.peak_contributors import Holder, holders, megabytes, step_name

_NAMED_AT_PEAK = 4
_LEFT = ("halo", "frame", "order")
_WIDE = 98
"""Columns of a terminal from which on the columns in words are shown, too."""
_RESIDENT = "process: resident memory that file, interpreter and one run add"


def show_plans(graph: Graph, plans: Sequence[tuple[str, Plan]], console: Console | None = None) -> None:
    """One row for each (label, plan), and below the table the contents of each arena at its fullest step."""
    console = console or Console()
    note = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    in_flash = any(made.flash_bytes for _, made in plans)
    weights = "flash" if in_flash else "weights"
    first = plans[0][1]
    table = Table(
        title=f"{graph.name}: memory in MB (10^6 bytes), target {first.target}, tiling {first.tiling}",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    rows = [_cells(asked, made, weights) for asked, made in plans]
    columns = [name for name in rows[0] if console.width >= _WIDE or name not in _LEFT]
    for name in columns:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True)
    for cells in rows:
        table.add_row(*(cells[name] for name in columns))
    console.print(table)
    note(f"peak = {'arena + runtime' if in_flash else 'arena + weights + runtime'}; * the C program's tables and stack")
    note("used: most tiles of any section (rows x columns); gap: arena over the least for the same steps")
    if "order" in columns:
        note("order: whether it is proven that no other order of the operators has a smaller untiled peak")
    for asked, made in plans:
        if made.buffers:
            note(f"{_label(asked)}: {high_water(graph, made)}")


def _cells(asked: str, made: Plan, weights: str) -> dict[str, str]:
    """One row of the table by the names of its columns."""
    return {
        "tiles": asked,
        "used": _tiles_used(made),
        "halo": _halo(made),
        "peak": f"[bold]{megabytes(made.peak_memory_bytes)}[/bold]",
        "arena": megabytes(made.arena_bytes),
        "gap": "proven" if made.proven else f"{made.gap:.1%}",
        weights: megabytes(made.flash_bytes if weights == "flash" else made.weights_bytes),
        "runtime*": megabytes(made.runtime_bytes),
        "MACs": f"x{1 + made.mac_overhead:.3f}",
        "steps": str(len(made.steps)),
        "frame": _frame(made),
        "order": "proven" if made.order_proven else "open",
    }


def high_water(graph: Graph, made: Plan) -> str:
    """One line: the step with the most bytes alive, and the largest tensors alive there."""
    alive = holders(graph, made)
    named = ", ".join(_holder(holder) for holder in alive[:_NAMED_AT_PEAK])
    rest = alive[_NAMED_AT_PEAK:]
    more = f" and {len(rest)} smaller ({megabytes(sum(h.size_bytes for h in rest))})" if rest else ""
    return f"fullest at step {made.high_water_step} ({step_name(graph, made, made.high_water_step)}): {named}{more}"


def show_other_runtimes(other_runtimes: Mapping[str, Any], console: Console | None = None) -> None:
    """The untiled arena next to the memory of other runtimes for the same file (`evaluation.other_runtimes.Survey`)."""
    console = console or Console()
    table = Table(title="untiled, next to other runtimes, MB", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    table.add_column("runtime", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("what is counted")
    rows = {
        "ours_tflm_accounting_bytes": ("petitlab", "arena, as TFLM counts: labels as int32, weights not in it"),
        "tflm_head_bytes": ("TFLM", "arena: head section, planned activations and scratch"),
        "tflm_tail_bytes": ("", "arena: tail section, persistent structures"),
        "litert_arena_bytes": ("LiteRT, built-in", "arena: span of the tensors; inputs stay to the end"),
        "litert_xnnpack_arena_bytes": ("LiteRT, XNNPACK", "arena: the same without the delegate's own workspace"),
        "tflm_resident_bytes": ("TFLM", _RESIDENT),
        "litert_resident_bytes": ("LiteRT, built-in", _RESIDENT),
        "litert_xnnpack_resident_bytes": ("LiteRT, XNNPACK", _RESIDENT),
    }
    for key, (runtime, counted) in rows.items():
        if other_runtimes.get(key) is not None:
            table.add_row(runtime, megabytes(other_runtimes[key]), counted)
    console.print(table)
    for problem in other_runtimes.get("problems", ()):
        console.print(f"not measured: {problem}", highlight=False, markup=False, soft_wrap=True)


def _label(asked: str) -> str:
    return asked if asked == "auto" else f"{asked} tile{'' if asked == '1' else 's'}"


def _holder(holder: Holder) -> str:
    shape = f" {holder.shape}" if holder.shape else ""
    return f"{holder.name}{shape} ({holder.role.replace('_', ' ')} {megabytes(holder.size_bytes)})"


def _tiles_used(made: Plan) -> str:
    largest = max(made.sections, key=lambda section: section.tiles)
    return str(largest.rows) if largest.columns == 1 else f"{largest.rows}x{largest.columns}"


def _halo(made: Plan) -> str:
    used = {section.halo for section in made.sections} - {Halo.NONE}
    return "both" if len(used) > 1 else next(iter(used)).value if used else "-"


def _frame(made: Plan) -> str:
    if any(buffer.role is Role.EXTERNAL_FRAME for buffer in made.buffers):
        return "outside"
    if not any(buffer.role is Role.FRAME for buffer in made.buffers):
        return "-"
    return "kept" if made.frame_kept else "consumed"
