"""Proof that an emitted network uses the memory of its plan: compiled, run in a process of its own, and measured.

Each frame runs twice, with the arena and guards around it filled with one pattern and then with another. A byte that
keeps both patterns was not written, and outputs that depend on uninitialized bytes differ. One pattern alone would miss
a byte that is written with the pattern's value. The stack is measured in the same way (`c/program/proof.c`).
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from deeplab.runtime.emit import end_bytes, label_map, offset_and_size_at_end, outside_bytes
from deeplab.runtime.program import write_sources
from deeplab.runtime.proof_build import Toolchain, compiled, linked, native, proof_objects
from deeplab.runtime.proof_sizes import Sizes, sizes
from deeplab.runtime.stack_host import compiled_with_stack, kernel_uses_of, stack_bound_of
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.interpreter.packing import pack_rows
from evaluation.interpreter.whole import as_input
from evaluation.planner.ir.plan_types import Plan

TIME_LIMIT_S = 600
RUNS = 5
_MOST_MESSAGE = 300
_MOST_PADDING_BYTES = 64
"""Limit of the padding between the end of the last buffer and that of the arena: one alignment unit of any target."""


class BrokenProgramError(Exception):
    """The program crashed, exceeded its time limit, or ended with an error."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Measurements of a run of the program."""

    outputs: np.ndarray
    """uint8 (frames, bytes of all outputs)."""
    outputs_equal: bool
    """Whether the outputs of each frame are equal with both patterns."""
    guards_intact: bool
    """Whether the guards before and after the arena are unchanged."""
    high_water_bytes: int
    """One past the highest byte of the arena that was written for any frame, the frame itself included."""
    stack_bytes: int | None
    """Deepest stack below the caller of network_infer; None where the build does not measure it."""
    latencies_ms: tuple[float, ...]
    """Times of runs on the last frame, single thread."""


@dataclass(frozen=True, eq=False)
class Proof:
    """A plan and the measurements of its program."""

    arena_bytes: int
    """Planned arena."""
    end_bytes: int
    """One past the highest byte of any planned buffer; the arena may end with padding to a whole alignment unit."""
    outside_bytes: int
    """Planned bytes of a frame outside the arena."""
    measured: Measured
    sizes: Sizes | None
    """None where the tool `size` of the binutils is not installed."""
    agreement: float | None
    """Share of the first output's elements that equal the reference; None without a reference."""
    stack_bound_bytes: int | None = None
    """Bound on the stack, derived from the compiled program; None if not requested."""

    @property
    def latency_ms(self) -> float:
        """Median latency."""
        return median(self.measured.latencies_ms)

    @property
    def faults(self) -> tuple[str, ...]:
        """Violations of the plan, in words; empty for a program that uses exactly the planned memory."""
        found = self.measured
        sizes = self.sizes
        variables = None if sizes is None else sizes.bss_bytes + sizes.data_bytes
        checks = (
            (found.outputs_equal, "the outputs depend on what the arena held before"),
            (found.guards_intact, "memory next to the arena was written"),
            (
                found.high_water_bytes == self.end_bytes,
                f"the arena was used up to byte {found.high_water_bytes}, planned is {self.end_bytes}",
            ),
            (
                0 <= self.arena_bytes - self.end_bytes < _MOST_PADDING_BYTES,
                f"the arena has {self.arena_bytes} bytes, its buffers end at {self.end_bytes}",
            ),
            (
                variables in (None, self.arena_bytes + self.outside_bytes),
                f"the program has {variables} bytes of variables, not only its arena",
            ),
            (
                self.stack_bound_bytes is None or (found.stack_bytes or 0) <= self.stack_bound_bytes,
                f"the stack took {found.stack_bytes} bytes, its bound is {self.stack_bound_bytes}",
            ),
            (self.agreement in (None, 1.0), f"only {(self.agreement or 0) * 100:.4f} % of the outputs agree"),
        )
        return tuple(words for holds, words in checks if not holds)


def prove(
    graph: Graph,
    plan: Plan,
    frames: Sequence[np.ndarray],
    folder: Path,
    references: Iterable[np.ndarray] | None = None,
    *,
    runs: int = RUNS,
    toolchain: Toolchain | None = None,
    compile_kernels: Callable[[Path], Path] | None = None,
    bound_stack: bool = False,
) -> Proof:
    """Emit a planned network, compile it, and run it on frames.

    Args:
        frames: each as `as_input` takes it; at least one.
        folder: for the sources and the program.
        references: expected first output of each frame: labels, or the tensor's values.
        runs: timed runs, at least one.
        toolchain: of this machine if None.
        compile_kernels: returns the object file of a `kernels.c`, for callers that reuse compiled kernels.
        bound_stack: whether to derive the stack bound, which takes a second or two; `compile_kernels` must then use
            `stack_host.compiled_with_stack`.

    Raises:
        UserError: there is no compiler or no kernel for an operator, or a frame has another size.
        BrokenProgramError: the program crashed, exceeded its time limit, or ended with an error.
    """
    toolchain = native() if toolchain is None else toolchain
    made = write_sources(graph, plan, folder)
    kernels = [] if compile_kernels is None else [compile_kernels(folder / "kernels.c")]
    compiler = compiled_with_stack if bound_stack else compiled
    objects = proof_objects(folder, toolchain, kernels=kernels, compiler=compiler)
    program = linked(objects, folder / "proof", toolchain)
    measured = run_program(program, [as_input(graph, frame) for frame in frames], toolchain, runs=runs)
    return Proof(
        plan.arena_bytes,
        end_bytes(plan),
        outside_bytes(plan),
        measured,
        sizes(objects[:2], toolchain) if shutil.which(toolchain.size) else None,
        None if references is None else _agreement(graph, plan, measured.outputs, references),
        stack_bound_of(objects[:2], kernel_uses_of(made), toolchain) if bound_stack else None,
    )


def run_program(
    program: Path, inputs: Iterable[np.ndarray], toolchain: Toolchain, *, runs: int = RUNS, own_stack: bool = True
) -> Measured:
    """Run a program linked from `proof_objects`.

    Args:
        inputs: values of the input tensor, of its dtype.
        own_stack: whether the program was built to measure its stack.

    Raises:
        BrokenProgramError: it crashed, exceeded its time limit, or ended with an error.
    """
    with tempfile.TemporaryDirectory() as temporary:
        fed, made = Path(temporary) / "frames", Path(temporary) / "outputs"
        with fed.open("wb") as file:
            for values in inputs:
                file.write(np.ascontiguousarray(values).tobytes())
        command = [*toolchain.emulator, str(program), str(fed), str(made), str(runs)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise BrokenProgramError(f"{program}: no end within {TIME_LIMIT_S} s") from None
        if done.returncode:
            said = " ".join(done.stderr.split())[:_MOST_MESSAGE]
            raise BrokenProgramError(f"{program}: {_end_of(done.returncode)}{': ' if said else ''}{said}")
        found = json.loads(done.stdout)
        outputs = np.fromfile(made, np.uint8).reshape(found["frames"], -1)
    return Measured(
        outputs,
        found["outputs_equal"],
        found["guards_intact"],
        found["high_water_bytes"],
        found["stack_bytes"] if own_stack else None,
        tuple(found["milliseconds"]),
    )


def _end_of(code: int) -> str:
    """The end of a process in words; an emulator returns 128 plus the number of a signal."""
    number = -code if code < 0 else code - 128
    if number > 0 and number in set(signal.Signals):
        return f"died of {signal.Signals(number).name}"
    return f"ended with {code}"


def _agreement(graph: Graph, plan: Plan, outputs: np.ndarray, references: Iterable[np.ndarray]) -> float:
    """Share of the elements of the first output that equal the reference."""
    tensor = graph.tensors[graph.outputs[0]]
    labels = label_map(graph, plan)
    dtype = np.dtype(tensor.dtype if labels is None else f"u{labels[2]}")
    size = offset_and_size_at_end(graph, plan, graph.outputs[0])[1]
    expected = np.stack([np.asarray(one).reshape(-1) for one in references]).astype(dtype)
    if tensor.bits < 8 and labels is None:  # packed: compared byte by byte
        _, columns, channels = extent(tensor)
        expected = pack_rows(expected.reshape(-1, columns * channels), tensor.bits).reshape(len(expected), -1)
    found = np.ascontiguousarray(outputs[:, :size]).view(expected.dtype)
    return float((found.view(np.uint8) == expected.view(np.uint8)).reshape(*expected.shape, -1).all(-1).mean())
