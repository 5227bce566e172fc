"""What a worker process does: open the context once, then answer requests, one candidate after another.

`trial` below is the module that knows how to measure, `sweeps.trial`. It is named, not imported, so that the parent
never loads TensorFlow. It must offer:

    open_context(config) -> Context
    prepare(context) -> None                               what candidates that lose channels share
    plan_candidate(candidate, context) -> Plan            memory, before any training
    evaluate(candidate, context) -> Measurement
    held_out(candidate, context) -> Scores
    execution(candidate, context) -> Execution | str      what its C program does; or why it was not run
    import_check(context) -> Scores                        the float network on `config.import_check.split`
    describe(context) -> reports.record.DataSet            names, colours, counts, fingerprints
    picture(context, image_index) -> (image_id, picture uint8 (H, W, 3), label uint8 (H, W))     of the search split
    overlay(candidate, context, image_index) -> uint8 (H, W)                predicted classes at the label's size
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from evaluation.measurement import Measurement, MemoryFigures
from sweeps.config import SweepConfig
from sweeps.space import Candidate

TRIAL_MODULE = "sweeps.trial"


@dataclass(frozen=True)
class Evaluate:
    """Measure a candidate; only plan it where that plan is over the limit."""

    candidate: Candidate
    limit_bytes: float | None = None
    """Most peak memory, bytes."""


@dataclass(frozen=True)
class Evaluated:
    memory: MemoryFigures
    plan_json: str
    measurement: Measurement | None
    """None where the plan was over the limit."""


@dataclass(frozen=True)
class PlanOnly:
    candidate: Candidate


@dataclass(frozen=True)
class ScoreHeldOut:
    candidate: Candidate


@dataclass(frozen=True)
class Execute:
    """Emit, compile and run the candidate's C program."""

    candidate: Candidate


@dataclass(frozen=True)
class CheckImport:
    pass


@dataclass(frozen=True)
class Prepare:
    """Compute what the candidates that lose channels share, so that no trial pays for it; the pictures that they learn
    from are read by the worker that answers, others read theirs when first needed."""


@dataclass(frozen=True)
class Describe:
    pass


@dataclass(frozen=True)
class Show:
    """One search picture: (image_id, picture, label, one label map for each candidate)."""

    image_index: int
    candidates: tuple[Candidate, ...]


def open_worker(config: SweepConfig, trial_module: str = TRIAL_MODULE) -> Callable[[Any], Any]:
    """Load the trial module (and with it TensorFlow) and return the function that answers requests."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    trial = importlib.import_module(trial_module)
    # Threads that wait for cores which other workers hold cost more than they bring, on the small matrices of pruning.
    threadpool_limits(max(1, (os.cpu_count() or 1) // config.search.workers), user_api="blas")
    return partial(answer, trial, trial.open_context(config))


def answer(trial: Any, context: Any, request: Any) -> Any:
    """Answer one request."""
    match request:
        case Evaluate(candidate, limit_bytes):
            plan = trial.plan_candidate(candidate, context)
            memory = MemoryFigures.of_plan(plan)
            over = limit_bytes is not None and memory.peak_memory_bytes > limit_bytes
            return Evaluated(memory, plan.to_json(), None if over else trial.evaluate(candidate, context))
        case PlanOnly(candidate):
            return MemoryFigures.of_plan(trial.plan_candidate(candidate, context))
        case ScoreHeldOut(candidate):
            return trial.held_out(candidate, context)
        case Execute(candidate):
            return trial.execution(candidate, context)
        case CheckImport():
            return trial.import_check(context)
        case Prepare():
            return trial.prepare(context)
        case Describe():
            return trial.describe(context)
        case Show(image_index, candidates):
            image_id, picture, label = trial.picture(context, image_index)
            maps = [np.asarray(trial.overlay(candidate, context, image_index)) for candidate in candidates]
            return image_id, picture, label, maps
    raise TypeError(f"no such request: {request!r}")
