"""`python -m deeplab.runtime NETWORK.tflite --out DIR`: exports a network as a C program, and checks and times it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from deeplab.runtime.bundle import check_folder, write_bundle
from deeplab.runtime.saved_plan import read_plan
from evaluation.errors import UserError, exits_on_user_error
from evaluation.graph import Graph, quantization_notes, read_tflite
from evaluation.kernels.targets import load_target
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.plan import DEFAULT_MAX_MAC_OVERHEAD, plan, refuse_dynamic_range
from evaluation.planner.show import arguments

DIFFERENT_STATUS = 1
FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=off", "-w")
"""Flags of the Makefile; warnings are off, since the user cannot act on them."""
_running = partial(typer.Option, rich_help_panel="Running (needs a C compiler)")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    epilog="Exit status 1: --check found a difference. 2: a file or an argument cannot be used; the message says why. "
    "Times of --bench are of this machine, one thread."
)
def runtime(
    context: typer.Context,
    network: Annotated[Path, typer.Argument(metavar="NETWORK.tflite", help="The network.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write: sources, Makefile, README, plan.")],
    tiles: Annotated[
        Any,
        arguments.planning(metavar="N", parser=arguments.tile_count, help="Most tiles of a section, or `auto`."),
    ] = "auto",
    target: arguments.Target = None,
    tiling: arguments.Tiling = "mixed",
    max_mac_overhead: arguments.MacOverhead = DEFAULT_MAX_MAC_OVERHEAD,
    saved: Annotated[
        Path | None,
        arguments.planning("--plan", metavar="plan.json", help="A plan of this network made before, not a new one."),
    ] = None,
    check: Annotated[
        Path | None,
        _running(metavar="IMAGES", help="Compare with the interpreter: an image, a tensor (.bin), or a folder."),
    ] = None,
    bench: Annotated[
        bool, _running("--bench", help="Time the program, the untiled one, and LiteRT, turn by turn.")
    ] = False,
) -> None:
    """Write a .tflite network as a C program that runs in one planned block of memory."""
    if saved is not None:
        for name in ("tiles", "tiling", "max_mac_overhead"):
            if arguments.is_given(context, name):
                raise UserError(f"--plan brings its own --{name.replace('_', '-')}; leave one of them out")
    check_folder(out)
    graph = read_tflite(network)
    refuse_dynamic_range(graph)
    for warning in quantization_notes(graph):
        print(f"warning: {graph.name}: {warning}", file=sys.stderr)
    inputs = _inputs(graph, check) if bench or check is not None else []
    if saved is not None:
        made = read_plan(saved, graph, target)
    else:
        share = max_mac_overhead
        made = plan(graph, tiles, load_target(target or "camera"), tiling=tiling, max_mac_overhead=share)
    write_bundle(graph, made, out)
    _show_plan(graph, made, out, str(tiles if saved is None else made.tile_count))
    if inputs and not _run(graph, made, out, inputs, network if bench else None, target, check is not None):
        raise typer.Exit(DIFFERENT_STATUS)


def _inputs(graph: Graph, check: Path | None) -> list[tuple[str, np.ndarray]]:
    """The inputs of --check and --bench, read before the network is planned, so that errors are reported early."""
    from deeplab.runtime.compilers import NO_COMPILER, REMEDY, compiler
    from deeplab.runtime.inputs import random_input, read_inputs  # loads Pillow, which is needed only here

    if compiler() is None:
        raise UserError(f"{NO_COMPILER}; {REMEDY}, or leave --check and --bench out to write the sources alone")
    return [("noise", random_input(graph))] if check is None else read_inputs(graph, check)


def _show_plan(graph: Graph, made: Plan, out: Path, asked: str) -> None:
    from rich.console import Console

    from deeplab.runtime.ends import is_segmentation
    from deeplab.runtime.text import show_written
    from evaluation.planner.show.text import show_plans

    console = Console()
    show_plans(graph, [(asked, made)], console)
    show_written(out, is_segmentation(graph, made), console)


def _run(
    graph: Graph, made: Plan, out: Path, inputs: list, timed: Path | None, target: str | None, compared: bool
) -> bool:
    """Build a copy of the written program, check and time it; returns whether all checked outputs are equal."""
    from rich.console import Console

    from deeplab.runtime.agreement import agreements
    from deeplab.runtime.bench import bench
    from deeplab.runtime.clock import ROUNDS
    from deeplab.runtime.emit import label_map
    from deeplab.runtime.program import Program
    from deeplab.runtime.text import show_agreement, show_times

    console, equal = Console(), True
    with tempfile.TemporaryDirectory() as folder:
        built, untiled = Path(folder) / "planned", Path(folder) / "untiled"
        shutil.copytree(out, built)
        program = Program(graph, made, built, FLAGS)
        if compared:
            found = list(agreements(graph, made, program, inputs))
            show_agreement(found, "label pixels" if label_map(graph, made) else "values", console)
            equal = all(one.equal == one.values for one in found)
        if timed is not None:
            times = bench(program, graph, load_target(target or made.target), timed, inputs[0][1], untiled, FLAGS)
            show_times(times.seconds, times.problems, ROUNDS, console)
    return equal


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
