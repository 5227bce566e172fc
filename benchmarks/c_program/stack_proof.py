"""The stack of a study's front points in every variant of the kernels, next to what it may be.

python -m benchmarks.c_program.stack_proof studies/streets

Each point's program is built for each instruction set with gcc and with clang, and runs here, in QEMU's emulation of
programs, or on an emulated Cortex-M7 without an operating system that has exactly the promised RAM. What cannot be
built or run here is listed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evaluation.errors import exits_on_user_error

if TYPE_CHECKING:
    import numpy as np

    from evaluation.graph import Graph
    from evaluation.planner import Plan, Target

EXCEEDED_STATUS = 1
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Row:
    """All points of a study in one variant."""

    variant: str
    compiler: str
    points: int
    within: int
    stack_bytes: int
    """Of the point with the deepest stack."""
    bound_bytes: int
    """Of the same point, derived from its program; on the board, all of the RAM that is not its arena."""
    promised_bytes: int
    """What the table, and so a plan for this instruction set, gives that point."""


@app.command()
def stack_proof(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of a finished study.")],
    points: Annotated[int | None, typer.Option(metavar="N", help="Only the first N points of the front.")] = None,
) -> None:
    """Print the stack of each variant of the kernels next to its bound.

    Exit status: 0; 1 where a stack exceeds its bound; 2 and one line
    where something is to be put right.
    """
    networks = list(_networks(study, points))
    print(f"{'variant':<17}{'compiler':<15}{'points':>7}{'within':>8}{'largest stack':>15}{'bound':>8}{'table':>8}")
    is_within = True
    for row in _rows(networks):
        is_within &= row.within == row.points
        print(
            f"{row.variant:<17}{row.compiler:<15}{row.points:>7}{row.within:>8}{row.stack_bytes:>15,}"
            f"{row.bound_bytes:>8,}{row.promised_bytes:>8,}",
            flush=True,
        )
    if not is_within:
        raise typer.Exit(EXCEEDED_STATUS)


@dataclass(frozen=True, eq=False)
class Shipped:
    """A point of the front."""

    graph: Graph
    tile_count: int
    frame: np.ndarray


def _networks(study: Path, most: int | None) -> Iterator[Shipped]:
    import json
    from dataclasses import replace

    from deeplab.pyfunc import NETWORK_FILE, load_network
    from evaluation.accuracy import to_network_size
    from reports.front import staircase
    from reports.record import NETWORKS
    from reports.record_file import read_record
    from sweeps.config.schema import SweepConfig
    from sweeps.config.space import Candidate
    from sweeps.trial.context import open_context
    from sweeps.trial.stages import compressed

    record = read_record(study)
    context = open_context(SweepConfig.model_validate_json(json.dumps(dict(record.config))))
    for point in staircase(record.feasible_points())[:most]:
        trial = record.trial(point.number)
        candidate, kept = Candidate.from_params(trial.params), study / NETWORKS / trial.label
        is_kept = (kept / NETWORK_FILE).exists()
        network = load_network(kept) if is_kept else compressed(candidate.compression, context)
        graph = replace(network, name=context.config.study)
        _, rows, columns, _ = graph.tensors[graph.inputs[0]].shape
        yield Shipped(graph, candidate.tile_count, to_network_size(context.images.search.image(0), rows, columns))


def _rows(networks: list[Shipped]) -> Iterator[Row]:
    from benchmarks.c_program.stack_runs import VariantBuilder, variants
    from evaluation.planner import CAMERA

    plans = [_plan(network, CAMERA) for network in networks]
    found, missing = variants()
    for variant in found:
        with tempfile.TemporaryDirectory() as folder:
            builder = VariantBuilder(variant, Path(folder))
            proofs = [
                builder.prove(network.graph, made, [network.frame])
                for network, made in zip(networks, plans, strict=True)
            ]
        deepest = max(proofs, key=lambda proof: proof.stack_bytes)
        yield Row(
            variant.instruction_set,
            variant.compiler,
            len(proofs),
            sum(proof.is_within for proof in proofs),
            deepest.stack_bytes,
            deepest.bound_bytes,
            deepest.table_bytes,
        )
    yield from _rows_of_board(networks)
    for reason in missing:
        print(f"not run: {reason}")


def _rows_of_board(networks: list[Shipped]) -> Iterator[Row]:
    from deeplab.devices import CORTEX_M7, missing_tools, run
    from deeplab.runtime.stack_builds import FAMILIES, INSTRUCTION_SETS, compiler_for
    from evaluation.planner import MCU

    if missing_tools():
        print(f"not run: {CORTEX_M7.instruction_set}: {missing_tools()}")
        return
    plans = [_plan(network, MCU) for network in networks]
    for family in FAMILIES:
        compiler = compiler_for(family, INSTRUCTION_SETS[CORTEX_M7.instruction_set])
        if compiler is None:
            print(f"not run: {CORTEX_M7.instruction_set}, {family}: not installed")
            continue
        runs = []
        for network, made in zip(networks, plans, strict=True):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(run(network.graph, made, [network.frame], Path(folder), compiler=compiler.command))
        deepest = max(runs, key=lambda one: one.stack_bytes)
        yield Row(
            f"{CORTEX_M7.instruction_set} board",
            compiler.name,
            len(runs),
            sum(one.is_within_plan for one in runs),
            deepest.stack_bytes,
            deepest.stack_room_bytes,
            deepest.stack_room_bytes,
        )


def _plan(network: Shipped, target: Target) -> Plan:
    from evaluation.planner import plan

    return plan(network.graph, network.tile_count, target)


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
