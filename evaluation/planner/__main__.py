"""`python -m evaluation.planner NETWORK.tflite`: what memory a network needs, tiled and untiled."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from evaluation.errors import exits_on_user_error
from evaluation.graph import Graph, quantization_notes, read_tflite
from evaluation.kernels.bits import with_bits
from evaluation.kernels.targets import TFLM, load_target
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.plan import DEFAULT_MAX_MAC_OVERHEAD, plan
from evaluation.planner.show.arguments import AUTO, DEFAULT_TIMEOUT_S, read_arguments
from evaluation.planner.show.outputs import check_output
from evaluation.planner.show.text import high_water, show_other_runtimes, show_plans
from evaluation.planner.tiling.schemes import TileCount, Tiling

_PLOTS = (".svg", ".pdf", ".png")


@exits_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    """Print one row a tile count, then what fills each arena at its peak; write the files asked for."""
    arguments = read_arguments(argv)
    if arguments.solve is not None:
        sys.exit(_solve(arguments))
    check_output(arguments.plot, "--plot", _PLOTS, arguments.network)
    check_output(arguments.buffers, "--buffers", (".csv",), arguments.network)
    check_output(arguments.tflm, "--tflm", (".tflite",), arguments.network)
    graph = with_bits(read_tflite(arguments.network), arguments.activation_bits, arguments.weight_bits)
    for warning in quantization_notes(graph):
        print(f"warning: {graph.name}: {warning}", file=sys.stderr)
    asked = arguments.tiles or [1, 4, 16, AUTO]
    plans = _plans(graph, asked, arguments)
    last = next(made for label, made in plans if label == str(asked[-1]))
    notes = _write_outputs(arguments, graph, str(asked[-1]), last)
    other_runtimes = _other_runtimes(arguments.network, graph) if arguments.other_runtimes else None
    if arguments.json:
        document: dict[str, Any] = {"plans": [{"asked": label} | summary(graph, made) for label, made in plans]}
        if other_runtimes is not None:
            document["other_runtimes"] = other_runtimes
        print(json.dumps(document, indent=1))
    else:
        show_plans(graph, plans)
        if other_runtimes is not None:
            show_other_runtimes(other_runtimes)
    for note in notes:
        print(note, file=sys.stderr if arguments.json else sys.stdout)


def _plans(graph: Graph, asked: Sequence[TileCount], arguments: argparse.Namespace) -> list[tuple[str, Plan]]:
    """A plan for each different tile count, the smallest first, `auto` last."""
    target = load_target(arguments.target or "camera")
    tiling: Tiling = arguments.tiling or "mixed"
    share = DEFAULT_MAX_MAC_OVERHEAD if arguments.max_mac_overhead is None else arguments.max_mac_overhead
    counts: list[TileCount] = sorted({count for count in asked if isinstance(count, int)})
    counts += [AUTO] if AUTO in asked else []
    return [(str(count), plan(graph, count, target, tiling=tiling, max_mac_overhead=share)) for count in counts]


def summary(graph: Graph, made: Plan) -> dict[str, Any]:
    """The plan's figures without its steps and buffers."""
    figures = made.to_dict()
    for name in ("steps", "buffers", "live_bytes", "high_water_buffers"):
        del figures[name]
    sections = [
        # A section that only copies an input of an elided concatenation has no operators.
        {"first": next(iter(s.operators), None), "last": next(reversed(s.operators), None)}
        | {"rows": s.rows, "columns": s.columns, "tiles": s.tiles, "halo": s.halo}
        for s in made.sections
    ]
    counts = {"sections": sections, "steps": len(made.steps), "buffers": len(made.buffers)}
    return figures | counts | {"frame_kept": made.frame_kept, "high_water": high_water(graph, made)}


def _write_outputs(arguments: argparse.Namespace, graph: Graph, label: str, last: Plan) -> list[str]:
    """Write the files asked for; a line to print for each."""
    notes = []
    of_which = f"the plan for --tiles {label}"
    if arguments.plot is not None:
        from evaluation.planner.show.plot import write_plot  # loads matplotlib, only wanted here

        write_plot(arguments.plot, graph, last)
        notes.append(f"{arguments.plot}: {of_which}, address against step")
    if arguments.buffers is not None:
        from evaluation.planner.show.outputs import write_plan_buffers

        count = write_plan_buffers(arguments.buffers, last)
        notes.append(f"{arguments.buffers}: {of_which}, {count} buffers of its arena with their offsets")
    if arguments.tflm is not None:
        from evaluation.planner.show.tflm_offsets import write_offline_plan  # runs TFLM, only wanted here

        written = write_offline_plan(arguments.network, arguments.tflm)
        before, after = written.before.head_bytes, written.after.head_bytes
        least = ", the least for this order of operators" if after == written.plan.lower_bound_bytes else ""
        notes.append(
            f"{arguments.tflm}: TFLM says it takes {after} bytes of arena (head) for this file{least}, and {before} "
            f"for the file as it came; tail {written.after.tail_bytes}"
        )
    return notes


def _other_runtimes(path: str, graph: Graph) -> dict[str, object]:
    """Untiled arenas and resident memory by each runtime's own accounting, in bytes; `problems` says what has none."""
    from evaluation.other_runtimes import survey  # loads interpreters, only wanted here

    return {"ours_tflm_accounting_bytes": plan(graph, 1, TFLM).arena_bytes, **survey(path).to_dict()}


def _solve(arguments: argparse.Namespace) -> int:
    """Place the buffers of a CSV file; 0 where they fit the capacity, else 1."""
    check_output(arguments.out, "--out", (".csv",), arguments.solve)
    from evaluation.planner.show.solve import solve_file  # only wanted here

    timeout_s = DEFAULT_TIMEOUT_S if arguments.timeout is None else arguments.timeout
    return solve_file(arguments.solve, arguments.capacity, timeout_s, arguments.out)


if __name__ == "__main__":
    main()
