"""The program's time next to that of the same network untiled, and in LiteRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab.runtime.clock import Run, interleaved
from deeplab.runtime.litert_clock import BUILT_IN, XNNPACK, LiteRTClock
from deeplab.runtime.program import Program, write_sources
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.interpreter.whole import as_input
from evaluation.kernels.targets import Target
from evaluation.planner.plan import plan


@dataclass(frozen=True)
class Bench:
    seconds: Mapping[str, float]
    """Median of each program's turns; the first is the program itself."""
    problems: Sequence[str]
    """Why another runtime has no time."""


def bench(
    program: Program,
    graph: Graph,
    target: Target,
    network: Path,
    values: np.ndarray,
    folder: Path,
    flags: tuple[str, ...],
) -> Bench:
    """Time one input in all of them, turn by turn.

    Args:
        program: the network as it was planned.
        network: its file, for LiteRT.
        values: the input.
        folder: where the untiled program may be built.
        flags: the compiler's.
    """
    untiled_plan = plan(graph, 1, target)
    write_sources(graph, untiled_plan, folder)
    untiled = Program(graph, untiled_plan, folder, flags)
    runs: dict[str, Run] = {
        "this program": lambda: program.seconds(values),
        "the same, untiled": lambda: untiled.seconds(values),
    }
    problems = []
    with ExitStack() as open_clocks:
        for kernels in (BUILT_IN, XNNPACK):
            try:
                clock = open_clocks.enter_context(LiteRTClock(network, kernels, as_input(graph, values)))
                runs[f"LiteRT, {kernels}"] = clock.seconds
            except UserError as error:
                problems.append(str(error))
        return Bench(interleaved(runs), problems)
