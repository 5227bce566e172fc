"""`python -m benchmarks.c_program SHARED`: memory and time of the emitted programs, next to LiteRT and TFLM.

SHARED is a folder with `weights` and `data/ade20k_subset`. Everything is measured in this run, on this machine, with
one thread. Of our programs the whole process counts: code, libc and stack included. Of the other runtimes only what one
interpreter adds to a process that is up (`evaluation.other_runtimes.resident`).
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.c_program.networks import ADE20K, CAMVID, IMAGES, Subject, subjects
from deeplab.runtime.bundle import write_bundle
from deeplab.runtime.clock import ROUNDS, interleaved
from deeplab.runtime.litert_clock import BUILT_IN, XNNPACK, LiteRTClock
from deeplab.runtime.processes import Launcher, Resident
from deeplab.runtime.program import Program, write_sources
from deeplab.runtime.proof import prove
from deeplab.runtime.proof_build import native
from deeplab.runtime.proof_sizes import constants
from evaluation.errors import UserError, exits_on_user_error
from evaluation.interpreter.whole import as_input
from evaluation.other_runtimes.resident import Runtime, resident_growth
from evaluation.planner import plan
from evaluation.planner.ir.plan_types import Plan

_TFLM_ARENA_BYTES = 64 << 20
_TFLM_ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Footprint:
    """Memory of one emitted program."""

    plan: Plan
    process: Resident
    weights_bytes: int
    tables_bytes: int
    stack_bytes: int
    """Of the network, in the process' stack."""

    @property
    def rest_bytes(self) -> int:
        """Code, libc, what the system puts on the stack, and parts of pages."""
        return self.process.total_bytes - self.plan.arena_bytes - self.weights_bytes - self.tables_bytes


def footprint(subject: Subject, folder: Path, launcher: Launcher) -> Footprint:
    """Plan, emit and build the static program of a network, and run it once on its input."""
    made = plan(subject.graph, "auto")
    bundle = folder / "bundle"
    write_bundle(subject.graph, made, bundle)
    _call(["make", "-C", str(bundle), "static"])
    source, output = folder / "input", folder / "output.pgm"
    if subject.values.dtype == np.uint8:
        source = source.with_suffix(".ppm")
        Image.fromarray(subject.values).save(source)
        process = launcher.resident([str(bundle / "network-static"), str(source), str(output)])
    else:
        source.write_bytes(as_input(subject.graph, subject.values).tobytes())
        process = launcher.resident([str(bundle / "network-static"), "--raw", str(source), str(output)])
    found = constants(bundle / "network.o", native())
    proof = prove(subject.graph, made, [subject.values], folder / "proof", runs=1)
    if proof.faults:
        raise UserError(f"{subject.title}: the program breaks its plan: {'; '.join(proof.faults)}")
    weights = found.pop("weights")
    return Footprint(made, process, weights, sum(found.values()), proof.measured.stack_bytes)


def memory(found: Sequence[tuple[Subject, Footprint]]) -> Table:
    """Whole processes of ours, and what the other runtimes add to theirs."""
    ours_by_part = "arena", "weights", "tables", "libc, code, stack", "of it the network's stack", "whole process"
    other_runtimes = (runtime.label for runtime in Runtime)
    table = _table("resident memory for one image, MB", "network", *ours_by_part, "promised", *other_runtimes)
    for subject, ours in found:
        parts = (ours.plan.arena_bytes, ours.weights_bytes, ours.tables_bytes, ours.rest_bytes, ours.stack_bytes,
                 ours.process.total_bytes)  # fmt: skip
        promised = "" if subject.promised_bytes is None else f"{subject.promised_bytes / 1e6:.1f}"
        other_runtimes = [_growth(subject, runtime, ours.process.total_bytes) for runtime in Runtime]
        table.add_row(subject.title, *(f"{size / 1e6:.3f}" for size in parts), promised, *other_runtimes)
    return table


def times(subject: Subject, folder: Path) -> Table:
    """Milliseconds of the program, tiled and untiled, and of the other runtimes, turn by turn."""
    runs: dict[str, Callable[[], float]] = {}
    for tiles, name in (("auto", "this program, auto"), (1, "this program, untiled")):
        made, place = plan(subject.graph, tiles), folder / str(tiles)
        write_sources(subject.graph, made, place)
        program = Program(subject.graph, made, place, native().flags)
        runs[name] = lambda program=program: program.seconds(subject.values)
    with ExitStack() as clocks:
        if subject.file is not None:
            values = subject.other_values
            for kernels in (BUILT_IN, XNNPACK):
                clock = clocks.enter_context(LiteRTClock(subject.file, kernels, values))
                runs[f"LiteRT, {kernels}"] = clock.seconds
        taken = interleaved(runs)
    if subject.file is not None:  # apart: a turn of it takes a hundred times as long as all others
        taken |= interleaved({"TFLM": _tflm_clock(subject.file, values)}, _TFLM_ROUNDS)
    first = next(iter(taken.values()))
    table = _table(
        f"{subject.title}: one thread, median of {ROUNDS} turns ({_TFLM_ROUNDS} of TFLM)",
        "program",
        "ms",
        "this program / it",
    )
    for name, seconds in taken.items():
        table.add_row(name, f"{1e3 * seconds:.1f}", f"{first / seconds:.3f}")
    return table


def _tflm_clock(file: Path, values: np.ndarray) -> Callable[[], float]:
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(file.read_bytes(), arena_size=_TFLM_ARENA_BYTES)

    def seconds() -> float:
        interpreter.set_input(values, 0)
        begun = time.perf_counter()
        interpreter.invoke()
        return time.perf_counter() - begun

    return seconds


def _growth(subject: Subject, runtime: Runtime, ours_bytes: int) -> str:
    """What another runtime adds, and how many times ours that is."""
    if subject.file is None:
        return "-"
    try:
        peak = resident_growth(subject.file, runtime).peak_bytes
    except UserError:
        return "not run"
    return f"+{peak / 1e6:.1f} (x{peak / ours_bytes:.1f})"


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(command)}: {done.stderr.strip()[-300:]}")


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 0, 0, 1), title_justify="left", min_width=len(title))
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def c_program(
    shared: Annotated[Path, typer.Argument(metavar="SHARED", help="Folder with weights and data/ade20k_subset.")],
) -> None:
    """Print all tables."""
    for needed in (ADE20K, CAMVID, IMAGES):
        if not (shared / needed).exists():
            raise UserError(f"{shared / needed}: not there; give the folder that holds weights and data")
    console = Console(width=max(Console().width, 150))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        launcher = Launcher(folder)
        chosen = subjects(shared, folder)
        found = []
        for number, subject in enumerate(chosen):
            place = folder / str(number)
            place.mkdir()
            found.append((subject, footprint(subject, place, launcher)))
        console.print(memory(found))
        for number, subject in enumerate(chosen):
            console.print(times(subject, folder / f"times{number}"))


main = exits_on_user_error(app)

if __name__ == "__main__":
    main()
