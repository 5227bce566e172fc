"""What a worker process does: open the context once, then answer requests, one candidate after another.

`trial` below is the module that knows how to measure, `sweeps.trial.evaluate`. It is named, not imported, so that the
parent never loads TensorFlow. It must offer:

    open_context(config) -> Context
    require_inputs(context, digests) -> None              UserError where it reads other inputs than those
    prepare(context) -> None                               what candidates that lose channels share
    plan_candidate(candidate, context) -> Plan            memory, before any training
    evaluate(candidate, context, stop) -> Measurement | Early       stop(scores so far, images) -> Early | None
    held_out(candidate, context) -> Scores
    outline(candidate, context) -> Measurement            the same, without comparing labels or timing programs
    execution(candidate, context) -> Execution | str      what its C program does; or why it was not run
    other_runtimes(candidate, context) -> reports.record.OtherRuntimes     what other runtimes use for its network
    network_files(candidate, context) -> {file name: bytes}         its network, to be kept
    import_check(context) -> Scores                        the float network on `config.import_check.split`
    scoring_seconds(context) -> float                     seconds that the float network takes to score an image
    describe(context) -> reports.record.DataSet            names, colours, counts, fingerprints, labelled classes
    image(context, image_index) -> (image_id, image uint8 (H, W, 3), label uint8 (H, W))     of the search split
    overlay(candidate, context, image_index) -> uint8 (H, W)                predicted classes at the label's size
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from evaluation.accuracy import Scores
from evaluation.measurement import Measurement, MemoryFigures
from reports.record import Bound, Early
from sweeps.code import stage_code
from sweeps.config.constraints import planned_costs
from sweeps.config.schema import SweepConfig
from sweeps.config.space import Candidate
from sweeps.trial.screening import Screen

TRIAL_MODULE = "sweeps.trial.evaluate"


@dataclass(frozen=True)
class Evaluate:
    """Measure a candidate; only plan it where that plan is over a limit, or where it is dominated."""

    candidate: Candidate
    limits: Mapping[str, float] = field(default_factory=dict)
    """By the names of `sweeps.config.constraints.PLANNED`."""
    screen: Screen | None = None


@dataclass(frozen=True)
class Evaluated:
    memory: MemoryFigures
    macs: int
    plan_json: str
    measurement: Measurement | None = None
    """None where it was not measured, or not to the end."""
    bound: Bound | None = None
    early: Early | None = None
    """Both as in `reports.record.Trial`."""


@dataclass(frozen=True)
class PlanOnly:
    """What a candidate costs by its plan: `sweeps.config.constraints.planned_costs`."""

    candidate: Candidate


@dataclass(frozen=True)
class Outline:
    """Score and plan a candidate that is no trial of the study."""

    candidate: Candidate


@dataclass(frozen=True)
class ScoreHeldOut:
    candidate: Candidate


@dataclass(frozen=True)
class Execute:
    """Emit, compile and run the candidate's C program."""

    candidate: Candidate


@dataclass(frozen=True)
class AskOtherRuntimes:
    """Measure what LiteRT and TFLM use for the candidate's network."""

    candidate: Candidate


@dataclass(frozen=True)
class KeepNetwork:
    """The candidate's network as files."""

    candidate: Candidate


@dataclass(frozen=True)
class CheckImport:
    pass


@dataclass(frozen=True)
class Prepare:
    """Compute what the candidates that lose channels share, so that no trial pays for it; the images that they learn
    from are read by the worker that answers, others read theirs when first needed."""


@dataclass(frozen=True)
class Describe:
    pass


@dataclass(frozen=True)
class TimeScoring:
    """Seconds that the float network takes to score an image."""


@dataclass(frozen=True)
class Show:
    """One search image: (image_id, image, label, one label map for each candidate)."""

    image_index: int
    candidates: tuple[Candidate, ...]


def open_worker(
    config: SweepConfig, trial_module: str = TRIAL_MODULE, digests: Mapping[str, str] | None = None
) -> Callable[[Any], Any]:
    """Load the trial module (and with it TensorFlow) and return the function that answers requests.

    Args:
        digests: of the inputs that the study is measured on, see `fingerprints.Inputs`; None: they are not compared.
    """
    # Threads that wait for cores which other workers hold cost more than they bring.
    threads = config.search.threads or max(1, (os.cpu_count() or 1) // config.search.workers)
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    stage_code.running()  # source that changes from here on is not what this process runs
    trial = importlib.import_module(trial_module)
    threadpool_limits(threads, user_api="blas")
    context = trial.open_context(config)
    if digests is not None:
        trial.require_inputs(context, digests)
    return partial(answer, trial, context)


def answer(trial: Any, context: Any, request: Any) -> Any:
    """Answer one request."""
    match request:
        case Evaluate():
            return evaluate(trial, context, request)
        case PlanOnly(candidate):
            plan = trial.plan_candidate(candidate, context)
            return planned_costs(MemoryFigures.of_plan(plan), plan.macs)
        case Outline(candidate):
            return trial.outline(candidate, context)
        case ScoreHeldOut(candidate):
            return trial.held_out(candidate, context)
        case Execute(candidate):
            return trial.execution(candidate, context)
        case AskOtherRuntimes(candidate):
            return trial.other_runtimes(candidate, context)
        case KeepNetwork(candidate):
            return trial.network_files(candidate, context)
        case CheckImport():
            return trial.import_check(context)
        case Prepare():
            return trial.prepare(context)
        case TimeScoring():
            return trial.scoring_seconds(context)
        case Describe():
            return trial.describe(context)
        case Show(image_index, candidates):
            image_id, image, label = trial.image(context, image_index)
            maps = [np.asarray(trial.overlay(candidate, context, image_index)) for candidate in candidates]
            return image_id, image, label, maps
    raise TypeError(f"no such request: {request!r}")


def evaluate(trial: Any, context: Any, request: Evaluate) -> Evaluated:
    """Plan the candidate, and measure it unless that is known to be in vain."""
    plan = trial.plan_candidate(request.candidate, context)
    memory, screen = MemoryFigures.of_plan(plan), request.screen
    costs = planned_costs(memory, plan.macs)
    answer = Evaluated(memory, plan.macs, plan.to_json())
    if any(costs[name] > limit for name, limit in request.limits.items()):
        return answer
    bound, is_audited = (None, False) if screen is None else (screen.predicted_bound(costs), screen.audited)
    if bound is not None and not is_audited:
        return replace(answer, bound=bound)
    stopped: list[Early] = []

    def stop(so_far: Scores, images: int) -> Early | None:
        early = screen.stop_scoring(so_far, images, costs) if screen is not None and not stopped else None
        if early is not None:
            stopped.append(early)
        return None if is_audited else early

    result = trial.evaluate(request.candidate, context, stop)
    measurement = None if isinstance(result, Early) else result
    return replace(answer, measurement=measurement, bound=bound, early=stopped[0] if stopped else None)
