"""`python -m evaluation.planner NETWORK.tflite`: the memory that a network needs, tiled and untiled."""

from __future__ import annotations

import sys
from dataclasses import fields
from functools import partial
from json import dumps
from typing import Annotated, Any

import typer

from evaluation.errors import UserError, exits_on_user_error
from evaluation.graph import Graph, quantization_notes, read_tflite
from evaluation.kernels.bits import with_bits
from evaluation.kernels.targets import TFLM, load_target
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.plan import DEFAULT_MAX_MAC_OVERHEAD, plan
from evaluation.planner.show import arguments
from evaluation.planner.show.outputs import check_output
from evaluation.planner.show.text import high_water, show_other_runtimes, show_plans
from evaluation.planner.tiling.schemes import TileCount

_OF_SOLVING = ("solve", "capacity", "timeout", "out")
_result = partial(typer.Option, rich_help_panel="Results")
_placing = partial(typer.Option, rich_help_panel="Placing buffers")
_bits = partial(arguments.planning, metavar="B", parser=arguments.whole_number)
_Whole = int | None
_File = str | None

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(
    cls=arguments.TilesCommand,
    epilog="MB is 10^6 bytes. Exit status 2: a file or an argument cannot be used; the message says why. "
    "With --solve, 0: solved, 1: not solved.",
)
def planner(
    context: typer.Context,
    network: Annotated[_File, typer.Argument(metavar="NETWORK.tflite", help="The network to plan.")] = None,
    tiles: Annotated[
        list[Any] | None,
        arguments.planning(
            metavar="N ...",
            parser=arguments.tile_count,
            help="Upper bounds on the tiles of a section, and `auto`: the planner picks (default: 1 4 16 auto).",
        ),
    ] = None,
    tiling: arguments.Tiling = "mixed",
    activation_bits: Annotated[_Whole, _bits(help="Bits of an activation element instead.")] = None,
    weight_bits: Annotated[_Whole, _bits(help="Bits of a kernel value instead.")] = None,
    target: arguments.Target = None,
    max_mac_overhead: arguments.MacOverhead = DEFAULT_MAX_MAC_OVERHEAD,
    json: Annotated[bool, _result("--json", help='Print {"plans": [...]}, figures only.')] = False,
    plot: Annotated[_File, _result(metavar="plan.svg", help="Draw the last plan asked for (.svg, .pdf, .png).")] = None,
    buffers: Annotated[_File, _result(metavar="out.csv", help="That plan's buffers, MiniMalloc's CSV.")] = None,
    tflm: Annotated[_File, _result(metavar="out.tflite", help="The network with an offline plan for TFLM.")] = None,
    other_runtimes: Annotated[
        bool, _result("--other-runtimes", "--peers", help="Memory that LiteRT and TFLM use for this file, too.")
    ] = False,
    solve: Annotated[_File, _placing(metavar="buffers.csv", help="Place these: id, lower, upper, size.")] = None,
    capacity: Annotated[
        _Whole, _placing(metavar="BYTES", parser=arguments.whole_number, help="Capacity in which they must fit.")
    ] = None,
    timeout: Annotated[float, _placing(metavar="S", help="Seconds at most.")] = 30.0,
    out: Annotated[_File, _placing(metavar="solution.csv", help="The buffers with an offset column.")] = None,
) -> None:
    """Plan the memory of a .tflite network: one arena for frame, activations, scratch and labels.

    Or place the buffers of a CSV file in a given capacity (--solve).
    """
    if network is None:
        if solve is None:
            raise UserError("give a NETWORK.tflite to plan, or --solve buffers.csv")
        _check_options(context, solving=True)
        raise typer.Exit(_solve(solve, capacity, timeout, out))
    if solve is not None:
        raise UserError("give a NETWORK.tflite to plan or --solve buffers.csv, not both")
    _check_options(context, solving=False)
    if tflm is not None and (activation_bits, weight_bits) != (None, None):
        raise UserError("--tflm copies the network with the bits it has; leave --activation-bits and --weight-bits out")
    check_output(plot, "--plot", (".svg", ".pdf", ".png"), network)
    check_output(buffers, "--buffers", (".csv",), network)
    check_output(tflm, "--tflm", (".tflite",), network)
    graph = with_bits(read_tflite(network), activation_bits, weight_bits)
    for warning in quantization_notes(graph):
        print(f"warning: {graph.name}: {warning}", file=sys.stderr)
    asked: list[TileCount] = tiles or [1, 4, 16, "auto"]
    counts = sorted(set(asked), key=lambda count: float("inf") if count == "auto" else count)
    made_for = load_target(target or "camera")
    plans = {
        str(count): plan(graph, count, made_for, tiling=tiling, max_mac_overhead=max_mac_overhead) for count in counts
    }
    notes = _write_outputs(network, graph, str(asked[-1]), plans[str(asked[-1])], plot, buffers, tflm)
    used = _other_runtimes(network, graph) if other_runtimes else None
    if json:
        document: dict[str, Any] = {"plans": [{"asked": label} | summary(graph, made) for label, made in plans.items()]}
        print(dumps(document if used is None else document | {"other_runtimes": used}, indent=1))
    else:
        show_plans(graph, list(plans.items()))
        if used is not None:
            show_other_runtimes(used)
    for note in notes:
        print(note, file=sys.stderr if json else sys.stdout)


def _check_options(context: typer.Context, *, solving: bool) -> None:
    """Refuse options of the other task: a network to plan, or buffers to place."""
    for option in context.command.params:
        of_solving = option.name in _OF_SOLVING
        if option.name != "network" and of_solving is not solving and arguments.is_given(context, option.name):
            raise UserError(f"{option.opts[0]} needs {'a network' if solving else '--solve'}")


def summary(graph: Graph, made: Plan) -> dict[str, Any]:
    """The plan's figures, without its buffers and groups."""
    held = {"groups", "buffers", "live_bytes", "high_water_buffers"}
    figures = {field.name: getattr(made, field.name) for field in fields(made) if field.name not in held}
    figures |= {"gap": made.gap, "proven": made.proven}
    sections = [
        # A section that only copies an input of an elided concatenation has no operators.
        {"first": next(iter(s.operators), None), "last": next(reversed(s.operators), None)}
        | {"rows": s.rows, "columns": s.columns, "tiles": s.tiles, "halo": s.halo}
        for s in made.sections
    ]
    counts = {"sections": sections, "steps": len(made.steps), "buffers": len(made.buffers)}
    return figures | counts | {"frame_kept": made.frame_kept, "high_water": high_water(graph, made)}


def _write_outputs(
    network: str, graph: Graph, label: str, last: Plan, plot: str | None, buffers: str | None, tflm: str | None
) -> list[str]:
    """Write the files asked for; a line to print for each."""
    notes = []
    of_which = f"the plan for --tiles {label}"
    if plot is not None:
        from evaluation.planner.show.plot import write_plot  # loads matplotlib, only wanted here

        write_plot(plot, graph, last)
        notes.append(f"{plot}: {of_which}, address against step")
    if buffers is not None:
        from evaluation.planner.show.outputs import write_plan_buffers

        count = write_plan_buffers(buffers, last)
        notes.append(f"{buffers}: {of_which}, {count} buffers of its arena with their offsets")
    if tflm is not None:
        from evaluation.planner.show.tflm_offsets import write_offline_plan  # runs TFLM, only wanted here

        written = write_offline_plan(network, tflm)
        before, after = written.before.head_bytes, written.after.head_bytes
        least = ", the least for this order of operators" if after == written.plan.lower_bound_bytes else ""
        notes.append(
            f"{tflm}: TFLM says it takes {after} bytes of arena (head) for this file{least}, and {before} "
            f"for the file as it came; tail {written.after.tail_bytes}"
        )
    return notes


def _other_runtimes(path: str, graph: Graph) -> dict[str, object]:
    """Untiled arenas and resident memory by each runtime's own accounting, in bytes; `problems` names those that have
    none."""
    from evaluation.other_runtimes import survey  # loads interpreters, only wanted here

    return {"ours_tflm_accounting_bytes": plan(graph, 1, TFLM).arena_bytes, **survey(path).figures()}


def _solve(path: str, capacity: int | None, timeout_s: float, out: str | None) -> int:
    """Place the buffers of a CSV file; 0 where they fit the capacity, else 1."""
    if capacity is None:
        raise UserError("--solve needs --capacity, the bytes that the buffers must fit in")
    if capacity < 1:
        raise UserError(f"--capacity must be at least 1 byte, got {capacity}")
    if capacity >= 1 << 63:
        raise UserError(f"--capacity must be below 2^63 bytes, got {capacity}")
    if not 0 < timeout_s < float("inf"):
        raise UserError(f"--timeout must be a positive number of seconds, got {timeout_s:g}")
    check_output(out, "--out", (".csv",), path)
    from evaluation.planner.show.solve import solve_file  # only wanted here

    return solve_file(path, capacity, timeout_s, out)


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
