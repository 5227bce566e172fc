"""Latency of the program, compared with the untiled program and with LiteRT."""

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
    """Latencies on one input."""

    seconds: Mapping[str, float]
    """Median seconds of each program; the first is the program itself."""
    problems: Sequence[str]
    """Reasons for which a runtime was not timed."""


def bench(
    program: Program,
    graph: Graph,
    target: Target,
    network: Path,
    values: np.ndarray,
    folder: Path,
    flags: tuple[str, ...],
) -> Bench:
    """Time one input in all programs, interleaved.

    Args:
        program: the network by its plan.
        network: .tflite file, for LiteRT.
        values: the input, as `as_input` takes it.
        folder: for the build of the untiled program.
        flags: of the compiler.
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
