"""Runs of a candidate's C program: its latency and, at the end of a sweep, its memory and labels."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from deeplab.runtime.compilers import compiler
from deeplab.runtime.program import write_sources
from deeplab.runtime.proof import BrokenProgramError, prove, run_program
from deeplab.runtime.proof_build import Toolchain, compiled, linked, native, proof_objects
from deeplab.runtime.sources import flat_name, kernel_units
from deeplab.runtime.stack_builds import described
from deeplab.runtime.stack_host import SUFFIX, compiled_with_stack, macros
from deeplab.simulation import simulator
from evaluation.accuracy import to_network_size
from evaluation.graph import Graph
from evaluation.interpreter.whole import as_input
from evaluation.measurement import Execution, Latency
from evaluation.planner import Plan
from sweeps.storage.stage_cache import StageCache
from sweeps.trial.context import Context
from sweeps.trial.stages import Network, plan_of

PROOF_IMAGES = 16
"""Number of search images on which the program of a point of the front is run."""
_KERNEL_FLAGS = ("-DNETWORK_PROOF", "-ffunction-sections")
_ROUNDS, _RUNS = 3, 3
"""Alternations between the two timed programs, and runs in each."""
NO_COMPILER = "no C compiler (cc, gcc or clang) was installed"


def latency(network: Network, graph: Graph, planned: Plan, context: Context) -> Latency | None:
    """Time of one image in the planned program and in the untiled program of the same network; None without a C
    compiler.

    Raises:
        UserError: the C program has no kernel for an operator of the graph.
        BrokenProgramError: a program crashed or did not end.
    """
    if compiler() is None:
        return None
    frame = as_input(graph, _frame(graph, context, 0))
    untiled = plan_of(graph, 1, context)
    plans = {"program": planned, "untiled": untiled}
    if planned.steps == untiled.steps:
        del plans["untiled"]
    toolchain = native()
    with tempfile.TemporaryDirectory() as folder:
        programs = {}
        for name, made in plans.items():
            sources = Path(folder) / name
            kernels = _kernels(write_sources(graph, made, sources).parts, sources, toolchain, context.cache)
            objects = proof_objects(sources, toolchain, kernels=kernels)
            programs[name] = linked(objects, sources / "program", toolchain)
        least = dict.fromkeys(programs, float("inf"))
        for _ in range(_ROUNDS):
            for name, program in programs.items():
                times = run_program(program, [frame], toolchain, runs=_RUNS).latencies_ms
                least[name] = min(least[name], *times)
    return Latency(least["program"], least.get("untiled", least["program"]))


def execution(network: Network, graph: Graph, planned: Plan, context: Context) -> Execution | str:
    """Run the candidate's program on search images and compare its labels with those of the simulated quantization.
    Returns the reason if it was not run.

    The `Execution` of a program that crashes or does not end says how it ended.
    """
    if compiler() is None:
        return NO_COMPILER
    count = min(PROOF_IMAGES, len(context.images.search))
    frames = [_frame(graph, context, index) for index in range(count)]
    labels = simulator(network.spec).labels(network, np.stack(frames))
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


def _kernels(parts: list[str], folder: Path, toolchain: Toolchain, cache: StageCache) -> list[Path]:
    """Object files of the kernels, compiled in parallel; each is compiled once in a study and shared by its
    networks."""

    def compile_unit(part: str, text: str) -> Path:
        source = folder / f"unit_{flat_name(part)}.c"
        source.write_text(text)
        return _compiled_once(source, text, toolchain, cache)

    longest_first = sorted(kernel_units(parts).items(), key=lambda unit: -len(unit[1]))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_unit, *zip(*longest_first, strict=True)))


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
