"""The planner's figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from evaluation.graph import Graph
from evaluation.planner.types import Plan

_NAMED_AT_PEAK = 4


def show_plans(graph: Graph, plans: Sequence[Plan], console: Console | None = None) -> None:
    """One row a plan, and below the table what fills each plan's arena at its high-water step."""
    console = console or Console()
    note = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    in_flash = any(made.flash_bytes for made in plans)
    table = Table(
        title=f"{graph.name}: memory in MB (10^6 bytes), target {plans[0].target}",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    columns = [
        "tiles",
        "peak",
        "arena",
        "flash" if in_flash else "weights",
        "runtime*",
        "bound",
        "gap",
        "MACs",
        "steps",
    ]
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for made in plans:
        table.add_row(
            str(made.tile_count),
            f"[bold]{_mb(made.peak_memory_bytes)}[/bold]",
            _mb(made.arena_bytes),
            _mb(made.flash_bytes if in_flash else made.weights_bytes),
            _mb(made.runtime_bytes),
            _mb(made.lower_bound_bytes),
            "proven" if made.proven else f"{made.gap:.1%}",
            f"x{1 + made.mac_overhead:.3f}",
            str(len(made.steps)),
        )
    console.print(table)
    sum_of = "arena + runtime" if in_flash else "arena + weights + runtime"
    note(f"peak = {sum_of}; tiles: at most so many in each section")
    note("* modelled from descriptors, steps and stack, not measured; bound: least arena for the same schedule")
    if any(made.frame_kept for made in plans):
        note(f"of which {_mb(plans[0].frame_bytes)} is the camera frame, kept through the run")
    for made in plans:
        note(f"{made.tile_count} tiles: {high_water(graph, made)}")


def high_water(graph: Graph, made: Plan) -> str:
    """One line: the step with the most bytes alive, and the largest buffers there."""
    step = made.steps[made.high_water_step]
    kinds = "+".join(graph.operators[operator].kind for operator in step.operators)
    names = []
    for index in made.high_water_buffers[:_NAMED_AT_PEAK]:
        buffer = made.buffers[index]
        shape = (
            "x".join(str(size) for size in graph.tensors[buffer.tensors[0]].shape[1:]) if buffer.tensors else "scratch"
        )
        names.append(f"{_short(buffer.name)} {shape} ({buffer.role} {_mb(buffer.size_bytes)})")
    rest = len(made.high_water_buffers) - _NAMED_AT_PEAK
    more = f" and {rest} smaller" if rest > 0 else ""
    return f"fullest at step {made.high_water_step}, {kinds}, tile {step.tile + 1}: {', '.join(names)}{more}"


def show_peers(peers: Mapping[str, int | str], console: Console | None = None) -> None:
    """The untiled arena beside what other runtimes allocate for the same file."""
    console = console or Console()
    table = Table(title="untiled arena beside other runtimes, MB", box=SIMPLE_HEAD)
    table.add_column("runtime")
    table.add_column("arena", justify="right")
    table.add_column("accounting")
    notes = {
        "ours_tflm_accounting_bytes": ("petitlab", "as TFLM counts: input, activations and scratch, labels as int32"),
        "tflm_arena_bytes": ("TFLM", "head section: planned activations and scratch (tail not counted)"),
        "litert_arena_bytes": ("LiteRT", "span of non-constant tensors, built-in kernels; inputs stay to the end"),
    }
    for key, value in peers.items():
        runtime, accounting = notes[key]
        table.add_row(
            runtime, _mb(value) if isinstance(value, int) else "-", accounting if isinstance(value, int) else value
        )
    console.print(table)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.3f}" if size_bytes >= 1e6 else f"{size_bytes / 1e6:.4f}"


def _short(name: str) -> str:
    """The last two parts of a converter's long tensor name."""
    return "/".join(name.split(";")[-1].split("/")[-2:])
