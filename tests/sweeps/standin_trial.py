"""A trial that measures nothing: closed forms of the candidate, in a millisecond. For tests of the engine only.

PETITLAB_TEST_FAULT: "crash:NAME|hang:NAME" ends, hangs, fails ("raise") or spoils ("nan") the trial of that candidate;
"*" is every one. PETITLAB_TEST_SECONDS: how long a trial takes. PETITLAB_TEST_JITTER: up to how many seconds longer,
another number each time. PETITLAB_TEST_GATE: "7:FILE" holds up every trial after the 7th until the file is there.
PETITLAB_TEST_EXCEEDS: candidates, "|" between them, whose C programs take more stack than they may; "*" is every one,
"no compiler" that none can be run. PETITLAB_TEST_LABELLED: the classes that the labels are said to hold, e.g. "0,2".
Scores are looked at after half of the images, as in a real trial.
"""

import os
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.accuracy import Scores
from evaluation.measurement import Cost, Execution, Latency, Measurement, MemoryFigures
from evaluation.other_runtimes import Runtime, RuntimeUse
from evaluation.planner import Buffer, Plan, Role, Step
from evaluation.planner.ir.former_plans import groups_of, sections_of
from reports.record import DataSet, Early, OtherRuntimes
from sweeps.config.schema import SweepConfig
from sweeps.config.space import BASELINE, Candidate
from sweeps.inputs.fingerprints import NETWORK
from sweeps.trial.evaluator import Evaluator, ImportScores
from sweeps.trial.screening import InterimCheck

IMAGES, CLASSES, SIDE = 6, 4, 48
CLASS_NAMES = ("road", "building", "person", "car")
PALETTE = ("#555555", "#E69F00", "#D55E00", "#0072B2")


def _bits(candidate: Candidate) -> tuple[float, float]:
    return candidate.compression.weight_bits / 32, candidate.compression.activation_bits / 32


def plan_of(candidate: Candidate) -> Plan:
    """A plan of four buffers whose sizes fall with narrower, fewer bits and more tiles."""
    weights, activations = _bits(candidate)
    width = 1 - candidate.compression.sparsity
    scale = int(1_000_000 * width * activations / (0.5 + 0.5 * candidate.tile_count)) // 64 * 64 + 65536
    frame = scale // 4
    buffers = (
        Buffer("frame", Role.FRAME, (0,), None, frame, 0, 2, 0),
        Buffer("stem", Role.ACTIVATION, (1,), None, scale - frame, 1, 3, frame),
        Buffer("head", Role.ACTIVATION, (2,), None, frame // 2, 2, 5, 0),
        Buffer("labels", Role.LABELS, (3,), None, frame // 4, 4, 6, frame // 2),
    )
    weights_bytes = int(400_000 * width**2 * weights)
    return Plan(
        graph="standin",
        target="camera",
        tile_count=candidate.tile_count,
        tiling="mixed",
        order_proven=True,
        sections=sections_of([Step((i,), 0, 0, (), ()) for i in range(6)]),
        groups=groups_of(len(buffers)),
        buffers=buffers,
        arena_bytes=scale,
        weights_bytes=weights_bytes,
        flash_bytes=0,
        runtime_bytes=4096,
        frame_bytes=0,
        peak_memory_bytes=scale + weights_bytes + 4096,
        lower_bound_bytes=scale,
        macs=int(1e8 * width),
        mac_overhead=0.01 * (candidate.tile_count - 1),
        high_water_step=1,
        high_water_buffers=(1, 0),
        live_bytes=(frame, scale, scale, frame, frame, frame // 4),
    )


def _accuracy(candidate: Candidate) -> float:
    weights, activations = _bits(candidate)
    loss = 0.5 * candidate.compression.sparsity**2 + 0.3 * 2 ** (-32 * weights) + 0.4 * 2 ** (-32 * activations / 2)
    return max(0.1, 0.9 - loss)


def scores(candidate: Candidate, images: int = IMAGES, seed: int = 0) -> Scores:
    """Scores whose every class has about the closed form's share right, a little different in each image."""
    right = _accuracy(candidate)
    noise = np.random.default_rng(seed).uniform(-0.08, 0.08, (images, CLASSES))
    confusions = np.zeros((images, CLASSES, CLASSES), np.int64)
    for image in range(images):
        for c in range(CLASSES):
            hit = int(10_000 * np.clip(right + noise[image, c], 0, 1))
            confusions[image, c, c] = hit
            confusions[image, c, (c + 1) % CLASSES] = 10_000 - hit
    return Scores.of([f"scene_{i:04d}" for i in range(images)], confusions)


@dataclass(frozen=True)
class StandInEvaluator:
    """See `sweeps.trial.evaluator.Evaluator`.

    Attributes:
        log: takes a line for every candidate that is evaluated, and one for the preparation.
        fault: PETITLAB_TEST_FAULT.
        seconds: PETITLAB_TEST_SECONDS.
    """

    log: Path = Path("/dev/null")
    fault: str = ""
    seconds: float = 0.0

    def require_inputs(self, digests: Mapping[str, str]) -> None:
        """Nothing is read."""

    def prepare(self) -> None:
        """Notes it, and ends the worker where PETITLAB_TEST_FAULT is "crash:preparation"."""
        with self.log.open("a") as file:
            file.write("prepared\n")
        if self.fault == "crash:preparation":
            os.kill(os.getpid(), signal.SIGKILL)

    def read_training_images(self) -> None:
        """Nothing is trained."""

    def plan_candidate(self, candidate: Candidate) -> Plan:
        return plan_of(candidate)

    def evaluate(self, candidate: Candidate, check: InterimCheck = lambda *_: None) -> Measurement | Early:
        with self.log.open("a") as file:
            file.write(f"{candidate}\n")
        jitter = float(os.environ.get("PETITLAB_TEST_JITTER", "0"))
        time.sleep(self.seconds + random.SystemRandom().random() * jitter)
        held_after, _, gate = os.environ.get("PETITLAB_TEST_GATE", "").partition(":")
        if gate and self.log.read_text().count("\n") > int(held_after):
            while not Path(gate).exists():
                time.sleep(0.02)
        faults = dict(fault.partition(":")[::2][::-1] for fault in self.fault.split("|") if fault)
        kind = faults.get(str(candidate), faults.get("*"))
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "hang":
            time.sleep(600)
        if kind == "raise":
            raise ValueError("the stand-in was told to fail")
        plan = plan_of(candidate)
        memory = MemoryFigures.of_plan(plan)
        measured = scores(candidate)
        half = measured.subset(measured.image_ids[: IMAGES // 2], measured.scored_classes)
        if (early := check(half, IMAGES)) is not None:
            return early
        if kind == "nan":
            measured = Scores(measured.image_ids, measured.confusions, ())
        cost = Cost(plan.macs, plan.mac_overhead, 400_000)
        latency = Latency(10.0 + candidate.tile_count, 11.0)
        return Measurement(measured, memory, cost, 0.999, latency, {"prune": 0.5, "evaluate": 0.25})

    def outline(self, candidate: Candidate) -> Measurement:
        plan = plan_of(candidate)
        cost = Cost(plan.macs, plan.mac_overhead, 400_000)
        return Measurement(scores(candidate), MemoryFigures.of_plan(plan), cost)

    def held_out(self, candidate: Candidate) -> Scores:
        with (self.log.parent / "heldout.txt").open("a") as file:
            file.write(f"{candidate}\n")
        return scores(candidate, IMAGES + 2, seed=1)

    def execution(self, candidate: Candidate) -> Execution | str:
        """Programs of 2-bit weights are said not to run."""
        if candidate.compression.weight_bits == 2:
            return "no C compiler"
        exceeding = os.environ.get("PETITLAB_TEST_EXCEEDS", "").split("|")
        if "no compiler" in exceeding:
            return "no C compiler was installed"
        stack = 2000 if {"*", str(candidate)} & set(exceeding) else 900
        arena = plan_of(candidate).arena_bytes
        return Execution(4, 0.999, arena, arena, arena, False, True, stack, 1024, 10.0 + candidate.tile_count)

    def other_runtimes(self, candidate: Candidate) -> OtherRuntimes:
        """LiteRT takes four times the arena, and TFLM refuses networks of 2-bit weights."""
        arena = 4 * plan_of(candidate).arena_bytes
        refused = candidate.compression.weight_bits == 2
        tflm = (
            RuntimeUse(Runtime.TFLM, problem="TFLM refuses this file")
            if refused
            else RuntimeUse(Runtime.TFLM, arena, 9_000, arena)
        )
        uses = (
            RuntimeUse(Runtime.LITERT_XNNPACK, arena, None, 3 * arena),
            RuntimeUse(Runtime.LITERT_BUILTIN, arena, None, 2 * arena),
        )
        return OtherRuntimes(400_000, (*uses, tflm))

    def network_files(self, candidate: Candidate) -> dict[str, bytes]:
        return {"network.tflite": str(candidate).encode()}

    def import_check(self) -> ImportScores:
        return ImportScores(scores(BASELINE))

    def scoring_seconds(self) -> float:
        """As if every image took 1 ms."""
        if "raise" in self.fault:
            raise RuntimeError("asked to fail")
        return 0.001

    def describe(self) -> DataSet:
        """Ends the worker where PETITLAB_TEST_FAULT is "crash:description"."""
        if self.fault == "crash:description":
            os.kill(os.getpid(), signal.SIGKILL)
        labelled = os.environ.get("PETITLAB_TEST_LABELLED")
        return DataSet(
            "standin", CLASS_NAMES, PALETTE, IMAGES, IMAGES + 2, {"search": "0" * 64, NETWORK: "1" * 64},
            None if labelled is None else tuple(map(int, labelled.split(","))),
        )  # fmt: skip

    def image(self, image_index: int) -> tuple[str, np.ndarray, np.ndarray]:
        rows, columns = np.mgrid[0:SIDE, 0 : SIDE * 2]
        label = ((rows // 12 + columns // 24 + image_index) % CLASSES).astype(np.uint8)
        label[:3] = 255
        scene = np.stack([label.astype(int) * 60 % 256, rows * 5 % 256, columns * 2 % 256], axis=2).astype(np.uint8)
        return f"scene_{image_index:04d}", scene, label

    def overlay(self, candidate: Candidate, image_index: int) -> np.ndarray:
        _, _, label = self.image(image_index)
        wrong = np.random.default_rng(image_index).random(label.shape) > _accuracy(candidate)
        return np.where(wrong, (label + 1) % CLASSES, label % CLASSES).astype(np.uint8)


def open_evaluator(config: SweepConfig) -> Evaluator:
    config.folder.mkdir(parents=True, exist_ok=True)
    return StandInEvaluator(
        config.folder / "evaluated.txt",
        os.environ.get("PETITLAB_TEST_FAULT", ""),
        float(os.environ.get("PETITLAB_TEST_SECONDS", "0")),
    )
