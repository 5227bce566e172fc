"""Runs of a candidate's C program: its latency and, at the end of a sweep, its memory and labels."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from deeplab.inference import Runner
from deeplab.runtime.proof import BrokenProgramError, prove
from deeplab.runtime.proof_build import Toolchain, compiled, native
from deeplab.runtime.stack_builds import described
from deeplab.runtime.stack_host import SUFFIX, compiled_with_stack, macros
from evaluation.accuracy import to_network_size
from evaluation.graph import Graph
from evaluation.measurement import Execution, Latency
from sweeps.storage.stage_cache import StageCache
from sweeps.trial.context import Context
from sweeps.trial.stages import Shipped, plan_of

PROOF_IMAGES = 16
"""Number of search images on which the program of a point of the front is run."""
_KERNEL_FLAGS = ("-DNETWORK_PROOF", "-ffunction-sections")
_ROUNDS, _RUNS = 3, 3
"""Alternations between the two timed programs, and runs in each after the first."""
_ENOUGH_S = 2.0
"""Time measured after which no further runs are begun: the longer a run, the less one differs from the next."""


def latency(candidate: Shipped, context: Context) -> Latency:
    """Time of one image in a candidate's program and in the untiled program of the same network.

    Raises:
        UserError: there is no C compiler.
    """
    untiled = plan_of(candidate.graph, 1, context)
    programs = {"program": candidate.runner.program}
    if candidate.plan.steps != untiled.steps:
        programs["untiled"] = Runner(candidate.graph, untiled).program
    frame = _frame(candidate.graph, context, 0)
    least = dict.fromkeys(programs, float("inf"))
    measured = 0.0
    for _ in range(_ROUNDS):
        for name, program in programs.items():
            times = [program.seconds(frame)]
            while len(times) <= _RUNS and sum(times) < _ENOUGH_S:
                times.append(program.seconds(frame))
            measured += sum(times)
            least[name] = min(least[name], *times)
        if measured > _ENOUGH_S:
            break
    milliseconds = {name: 1e3 * seconds for name, seconds in least.items()}
    return Latency(milliseconds["program"], milliseconds.get("untiled", milliseconds["program"]))


def execution(candidate: Shipped, context: Context) -> Execution:
    """Compile the program as it is exported, run it on search images, and compare its labels with those that were
    scored.

    The `Execution` of a program that crashes or does not end says how it ended.
    """
    graph, planned = candidate.graph, candidate.plan
    count = min(PROOF_IMAGES, len(context.images.search))
    frames = [_frame(graph, context, index) for index in range(count)]
    labels = candidate.runner.labels(frames)
    try:
        with tempfile.TemporaryDirectory() as folder:
            toolchain = native()
            proof = prove(
                graph,
                planned,
                frames,
                Path(folder),
                labels,
                toolchain=toolchain,
                compile_kernels=lambda source: _compiled_once(
                    source, _with_header(source), toolchain, context.cache, with_stack=True
                ),
                bound_stack=True,
            )
    except BrokenProgramError as error:
        how = str(error).split(": ", 1)[-1]  # without the path of a temporary file
        return Execution(count, 0.0, planned.arena_bytes, 0, 0, False, False, 0, 0, 0.0, failure=how)
    seen = proof.measured
    assert proof.agreement is not None, "it was given the labels"
    assert proof.stack_bound_bytes is not None, "it was asked for the bound"
    assert seen.stack_bytes is not None, "a program of `prove` has a stack of its own"
    return Execution(
        images=count,
        label_agreement=proof.agreement,
        arena_bytes=planned.arena_bytes,
        end_bytes=proof.end_bytes,
        high_water_bytes=seen.high_water_bytes,
        written_outside=not seen.guards_intact,
        repeatable=seen.outputs_equal,
        stack_bytes=seen.stack_bytes,
        stack_bound_bytes=proof.stack_bound_bytes,
        milliseconds=min(seen.latencies_ms),
    )


def _with_header(source: Path) -> str:
    """The text of kernels.c and of the one header that it includes."""
    return source.read_text() + source.with_suffix(".h").read_text()


def _compiled_once(
    source: Path, text: str, toolchain: Toolchain, cache: StageCache, *, with_stack: bool = False
) -> Path:
    """The object file of a source of kernels, from the stage cache if present.

    Args:
        text: the whole text that is compiled, included headers among it.
    """
    made = source.with_suffix(".o")
    known = {
        "source": text,
        "compiler": [described(toolchain.cc), macros(toolchain)],
        "flags": [*toolchain.flags, *_KERNEL_FLAGS],
        "with_stack": with_stack,
    }

    def compile_source() -> bytes:
        (compiled_with_stack if with_stack else compiled)(source, toolchain, *_KERNEL_FLAGS)
        stack = made.with_suffix(SUFFIX)
        return (stack.read_bytes() if stack.exists() else b"") + b"\0" + made.read_bytes()

    content = cache.cached("kernels", known, compile_source, lambda content: content, lambda content: content)
    stack, _, code = content.partition(b"\0")
    made.write_bytes(code)
    if stack:
        made.with_suffix(SUFFIX).write_bytes(stack)
    return made


def _frame(graph: Graph, context: Context, index: int) -> np.ndarray:
    """A search image at the network's size, uint8 (H, W, 3)."""
    _, rows, columns, _ = graph.tensors[graph.inputs[0]].shape
    return to_network_size(context.images.search.image(index), rows, columns)
