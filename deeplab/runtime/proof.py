"""Proof that an emitted network does what its plan promises: compile it, run it in a process of its own, and measure.

Two runs on each frame, the arena and guards around it filled with one pattern and then with another: a byte that both
runs leave as it was is untouched, and a result that depends on what nobody wrote differs. One pattern alone would miss
a byte that is written with the pattern's own value. The stack is painted and measured in the same way
(`c/program/proof.c`).
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from deeplab.runtime.emit import label_map, offset_and_size_at_end, outside_bytes
from deeplab.runtime.program import write_sources
from deeplab.runtime.proof_build import Toolchain, compiled, linked, native, proof_objects
from deeplab.runtime.proof_sizes import Sizes, sizes
from deeplab.runtime.stack_host import compiled_with_stack, kernel_uses_of, stack_bound_of
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.interpreter.packing import pack_rows
from evaluation.interpreter.whole import as_input
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.ir.steps import Role

TIME_LIMIT_S = 600
RUNS = 5
_MOST_MESSAGE = 300
_MOST_PADDING_BYTES = 64
"""Between the last buffer's end and the arena's: less than one alignment unit of any target we know."""


class BrokenProgramError(Exception):
    """The program crashed, hung, or stopped with an error."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What running the program showed."""

    outputs: np.ndarray
    """uint8 (frames, bytes of all outputs)."""
    outputs_equal: bool
    """Whether the outputs of each frame are the same with either pattern in the arena before."""
    guards_intact: bool
    """Whether nothing was written just before or just after the arena."""
    high_water_bytes: int
    """One past the highest byte of the arena that was touched, on any frame; the frame's own bytes included."""
    stack_bytes: int | None
    """Deepest use below the caller of network_infer; None where the build has no stack of its own."""
    latencies_ms: tuple[float, ...]
    """Of runs on the last frame, one thread."""


@dataclass(frozen=True, eq=False)
class Proof:
    """A plan next to what its program did."""

    arena_bytes: int
    """As planned."""
    end_bytes: int
    """One past the highest byte of any planned buffer; the arena may end with padding to a whole alignment unit."""
    outside_bytes: int
    """Of a frame outside the arena, as planned."""
    measured: Measured
    sizes: Sizes
    agreement: float | None
    """Share of the first output's elements (of pixels, for a label map) that are the reference's; None without one."""
    stack_bound_bytes: int | None = None
    """What the stack may be, derived from the compiled program; None where that was not asked for."""

    @property
    def latency_ms(self) -> float:
        """Median of the runs."""
        return median(self.measured.latencies_ms)

    @property
    def faults(self) -> tuple[str, ...]:
        """Promises broken, in words; none for a program that runs in exactly the planned memory."""
        found = self.measured
        variables = self.sizes.bss_bytes + self.sizes.data_bytes
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
                variables == self.arena_bytes + self.outside_bytes,
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
        folder: where the sources and the program are written.
        references: for each frame the first output that is right: labels, or the tensor's values.
        runs: for the clock, at least one.
        toolchain: this machine's, if None.
        compile_kernels: makes the object file of a `kernels.c`, for who has compiled the same before.
        bound_stack: whether to derive what the stack may be, which takes a second or two; object files that
            `compile_kernels` makes must come from `stack_host.compiled_with_stack`.

    Raises:
        UserError: there is no compiler, no kernel for an operator, or a frame of another size.
        BrokenProgramError: the program crashed, hung, or stopped with an error.
    """
    toolchain = native() if toolchain is None else toolchain
    made = write_sources(graph, plan, folder)
    kernels = [] if compile_kernels is None else [compile_kernels(folder / "kernels.c")]
    compiler = compiled_with_stack if bound_stack else compiled
    objects = proof_objects(folder, toolchain, kernels=kernels, compiler=compiler)
    program = linked(objects, folder / "proof", toolchain)
    measured = run_program(program, [as_input(graph, frame) for frame in frames], toolchain, runs=runs)
    inside = [buffer for buffer in plan.buffers if buffer.role is not Role.EXTERNAL_FRAME]
    return Proof(
        plan.arena_bytes,
        max((buffer.offset + buffer.size_bytes for buffer in inside), default=0),
        outside_bytes(plan),
        measured,
        sizes(objects[:2], toolchain),
        None if references is None else _agreement(graph, plan, measured.outputs, references),
        stack_bound_of(objects[:2], kernel_uses_of(made), toolchain) if bound_stack else None,
    )


def run_program(
    program: Path, inputs: Iterable[np.ndarray], toolchain: Toolchain, *, runs: int = RUNS, own_stack: bool = True
) -> Measured:
    """Run a program linked from `proof_objects`.

    Args:
        inputs: values of the input tensor, of its type.
        own_stack: whether it was built so that its stack can be measured.

    Raises:
        BrokenProgramError: it crashed, hung, or stopped with an error.
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
    """How a process ended; an emulator passes a signal on as 128 and its number."""
    number = -code if code < 0 else code - 128
    if number > 0 and number in set(signal.Signals):
        return f"died of {signal.Signals(number).name}"
    return f"ended with {code}"


def _agreement(graph: Graph, plan: Plan, outputs: np.ndarray, references: Iterable[np.ndarray]) -> float:
    """Share of elements of the first output that are there as the reference has them."""
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
