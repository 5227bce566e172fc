"""`python -m deeplab.runtime.benchmarks SHARED`: memory and time of the emitted programs, beside LiteRT and TFLM.

SHARED is a folder with `weights` and `data/ade20k_subset`. Everything is measured in this run, on this machine, with
one thread. Of our programs the whole process counts: code, libc and stack included. Of the peers only what one
interpreter adds to a process that is up (`evaluation.peers.resident`).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from deeplab.checkpoint import Checkpoint
from deeplab.importing import import_tflite
from deeplab.lowering import lower
from deeplab.quantization import FLOAT_INPUT_ZERO, INPUT_SCALE, quantize
from deeplab.runtime.bundle import write_bundle
from deeplab.runtime.clock import ROUNDS, interleaved
from deeplab.runtime.litert_clock import BUILT_IN, XNNPACK, LiteRTClock
from deeplab.runtime.processes import Launcher, Resident
from deeplab.runtime.program import Program, write_sources
from deeplab.runtime.proof import prove
from deeplab.runtime.proof_build import native
from deeplab.runtime.proof_sizes import constants
from evaluation.accuracy import squash
from evaluation.errors import UserError, exits_on_user_error
from evaluation.executor.whole import as_input
from evaluation.graph import Graph, read_tflite
from evaluation.peers.resident import Runtime, resident_growth
from evaluation.planner import plan
from evaluation.planner.types import Plan

ADE20K = Path("weights") / "deeplabv3_mnv2_ade20k_int8.tflite"
CAMVID = Path("weights") / "deeplabv3plus_mnv2_camvid_float.tflite"
PICTURES = Path("data") / "ade20k_subset" / "images"
PROMISED_BYTES = {"int8": 4_800_000, "4-bit weights": 3_700_000}
"""Bounds on the whole process for the ADE20K network, 512x512."""
_TFLM_ARENA_BYTES = 64 << 20
_CALIBRATION_PICTURES = 4


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to be measured."""

    title: str
    graph: Graph
    values: np.ndarray
    """One input, as `as_input` takes it."""
    file: Path | None
    """What the peers run: the same network, None where no file says the same."""
    promised_bytes: int | None = None

    @property
    def peer_values(self) -> np.ndarray:
        """The input as the file takes it: in float, where ours takes a camera's bytes, what those mean."""
        theirs = read_tflite(self.file)
        is_real = theirs.tensors[theirs.inputs[0]].dtype == "float32"
        return as_input(theirs, _real(self.values) if is_real and self.values.dtype == np.uint8 else self.values)


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


def subjects(shared: Path, folder: Path) -> tuple[Subject, ...]:
    """The ADE20K network as it is, with 4-bit weights and in float, and a float network that comes as a file."""
    picture = sorted((shared / PICTURES).glob("*.jpg"))[0]
    quantized, checkpoint = read_tflite(shared / ADE20K), import_tflite(shared / ADE20K)
    frame = _frame(picture, quantized)
    camvid = read_tflite(shared / CAMVID)
    narrow = _four_bit_weights(checkpoint, sorted((shared / PICTURES).glob("*.jpg"))[-_CALIBRATION_PICTURES:])
    return (
        Subject("ADE20K 512x512, int8", quantized, frame, shared / ADE20K, PROMISED_BYTES["int8"]),
        Subject("the same, 4-bit weights", narrow, frame, None, PROMISED_BYTES["4-bit weights"]),
        Subject("the same, float32", lower(checkpoint), frame, float_tflite(checkpoint, folder / "float.tflite")),
        Subject("CamVid 360x480, float32", camvid, _real(_frame(picture, camvid)), shared / CAMVID),
    )


def float_tflite(checkpoint: Checkpoint, path: Path) -> Path:
    """The float network with its ARG_MAX as a `.tflite` file, by TensorFlow's converter (half a minute)."""
    from deeplab.model import build, load_weights
    from deeplab.tensorflow import keras, tf

    model = build(checkpoint.spec, batch_size=1)
    load_weights(model, checkpoint.spec, checkpoint.weights)
    labels = keras.layers.Lambda(lambda logits: tf.argmax(logits, axis=-1, output_type=tf.int32))(model.output)
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Model(model.input, labels)).convert())
    return path


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
    """Whole processes of ours, and what the peers add to theirs."""
    table = _table("resident memory for one picture, MB", "network", "arena", "weights", "tables", "libc, code, stack",
                   "whole process", "promised", *(runtime.title for runtime in Runtime))  # fmt: skip
    for subject, ours in found:
        parts = ours.plan.arena_bytes, ours.weights_bytes, ours.tables_bytes, ours.rest_bytes, ours.process.total_bytes
        promised = "" if subject.promised_bytes is None else f"{subject.promised_bytes / 1e6:.1f}"
        peers = [_growth(subject, runtime, ours.process.total_bytes) for runtime in Runtime]
        table.add_row(subject.title, *(f"{size / 1e6:.3f}" for size in parts), promised, *peers)
    return table


def times(subject: Subject, folder: Path) -> Table:
    """Milliseconds of the program, tiled and untiled, and of the peers, turn by turn."""
    runs: dict[str, Callable[[], float]] = {}
    for tiles, name in (("auto", "this program, auto"), (1, "this program, untiled")):
        made, place = plan(subject.graph, tiles), folder / str(tiles)
        write_sources(subject.graph, made, place)
        program = Program(subject.graph, made, place)
        runs[name] = lambda program=program: program.seconds(subject.values)
    with ExitStack() as clocks:
        if subject.file is not None:
            values = subject.peer_values
            for kernels in (BUILT_IN, XNNPACK):
                clock = clocks.enter_context(LiteRTClock(subject.file, kernels, values))
                runs[f"LiteRT, {kernels}"] = clock.seconds
            runs["TFLM"] = _tflm_clock(subject.file, values)
        taken = interleaved(runs)
    first = next(iter(taken.values()))
    table = _table(f"{subject.title}: one thread, median of {ROUNDS} turns", "program", "ms", "this program / it")
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


def _four_bit_weights(checkpoint: Checkpoint, pictures: Sequence[Path]) -> Graph:
    """Quantised as a study would, to 4-bit weights and 8-bit activations."""
    from deeplab.calibration import calibrate  # loads TensorFlow

    size = checkpoint.spec.input_height, checkpoint.spec.input_width
    frames = np.stack([squash(_read(picture), *size) for picture in pictures])
    return lower(quantize(checkpoint, calibrate(checkpoint, frames), 4, 8))


def _frame(picture: Path, graph: Graph) -> np.ndarray:
    return squash(_read(picture), *graph.tensors[graph.inputs[0]].shape[1:3])


def _real(frame: np.ndarray) -> np.ndarray:
    """A camera's bytes as the float networks take them."""
    return ((frame.astype(np.float32) - np.float32(FLOAT_INPUT_ZERO)) * np.float32(INPUT_SCALE)).astype(np.float32)


def _read(picture: Path) -> np.ndarray:
    return np.asarray(Image.open(picture).convert("RGB"))


def _growth(subject: Subject, runtime: Runtime, ours_bytes: int) -> str:
    """What a peer adds, and how many times ours that is."""
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
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 0, 0, 1), title_justify="left")
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right")
    return table


@exits_on_user_error
def main(argv: Sequence[str] | None = None) -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(prog="python -m deeplab.runtime.benchmarks", description=__doc__)
    parser.add_argument("shared", type=Path, help="folder with weights and data/ade20k_subset")
    shared = parser.parse_args(argv).shared
    for needed in (ADE20K, CAMVID, PICTURES):
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


if __name__ == "__main__":
    main()
