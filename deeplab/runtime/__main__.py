"""`python -m deeplab.runtime NETWORK.tflite --out DIR`: the network as a C program, checked and timed if asked."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deeplab.runtime.arguments import AUTO, read_arguments
from deeplab.runtime.bundle import check_folder, write_bundle
from deeplab.runtime.saved_plan import read_plan
from evaluation.errors import UserError, exits_on_user_error
from evaluation.graph import Graph, quantization_notes, read_tflite
from evaluation.kernels.targets import load_target
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.plan import DEFAULT_MAX_MAC_OVERHEAD, plan, refuse_dynamic_range

DIFFERENT_STATUS = 1
FLAGS = ("-std=c99", "-O3", "-march=native", "-ffp-contract=off", "-w")
"""As the Makefile's; what a compiler of the user's own warns of is no mistake of the user's."""


@exits_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    """Write the folder; then build what is in it, and compare and time it, if asked."""
    arguments = read_arguments(argv)
    out = Path(arguments.out)
    check_folder(out)
    graph = read_tflite(arguments.network)
    refuse_dynamic_range(graph)
    for warning in quantization_notes(graph):
        print(f"warning: {graph.name}: {warning}", file=sys.stderr)
    runs = arguments.check is not None or arguments.bench
    inputs = _inputs(graph, arguments) if runs else []
    made = _plan(graph, arguments)
    write_bundle(graph, made, out)
    _show_plan(graph, made, out, str(made.tile_count) if arguments.plan else str(arguments.tiles or AUTO))
    if runs and not _run(graph, made, out, arguments, inputs):
        sys.exit(DIFFERENT_STATUS)


def _plan(graph: Graph, arguments: argparse.Namespace) -> Plan:
    if arguments.plan is not None:
        return read_plan(Path(arguments.plan), graph, arguments.target)
    target = load_target(arguments.target or "camera")
    share = DEFAULT_MAX_MAC_OVERHEAD if arguments.max_mac_overhead is None else arguments.max_mac_overhead
    return plan(graph, arguments.tiles or AUTO, target, tiling=arguments.tiling or "mixed", max_mac_overhead=share)


def _inputs(graph: Graph, arguments: argparse.Namespace) -> list[tuple[str, np.ndarray]]:
    """Read before the work begins, as whatever may be missing is looked for then."""
    from deeplab.runtime.inputs import random_input, read_inputs  # loads Pillow, only wanted here
    from deeplab.runtime.program import compiler

    if compiler() is None:
        raise UserError(
            "no C compiler (cc, gcc or clang) is installed; install one, or leave --check and --bench out to write the "
            "sources alone"
        )
    return [("noise", random_input(graph))] if arguments.check is None else read_inputs(graph, Path(arguments.check))


def _show_plan(graph: Graph, made: Plan, out: Path, asked: str) -> None:
    from rich.console import Console

    from deeplab.runtime.ends import is_segmentation
    from deeplab.runtime.text import show_written
    from evaluation.planner.show.text import show_plans

    console = Console()
    show_plans(graph, [(asked, made)], console)
    show_written(out, is_segmentation(graph, made), console)


def _run(graph: Graph, made: Plan, out: Path, arguments: argparse.Namespace, inputs: list) -> bool:
    """Build what was written, a copy of it, and check and time it; whether all that was checked is equal."""
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
        if arguments.check is not None:
            found = list(agreements(graph, made, program, inputs))
            show_agreement(found, "label pixels" if label_map(graph, made) else "values", console)
            equal = all(one.equal == one.values for one in found)
        if arguments.bench:
            target = load_target(arguments.target or made.target)
            times = bench(program, graph, target, Path(arguments.network), inputs[0][1], untiled, FLAGS)
            show_times(times.seconds, times.problems, ROUNDS, console)
    return equal


if __name__ == "__main__":
    main()
