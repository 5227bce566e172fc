"""Requests to workers: a function of an evaluator with its arguments, typed by its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, TypeVarTuple

import numpy as np

from evaluation.accuracy import Scores
from evaluation.measurement import Measurement, MemoryFigures
from reports.record import Bound, Early
from sweeps.config.constraints import planned_costs
from sweeps.config.space import Candidate
from sweeps.trial.evaluator import Evaluator
from sweeps.trial.screening import Screen

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Request(Generic[T_co]):
    """A call of a worker's evaluator, made by `request`. It is picklable if its arguments are."""

    function: Callable[..., T_co]
    arguments: tuple[object, ...]

    def answer(self, evaluator: Evaluator) -> T_co:
        """Call the evaluator and return its answer."""
        function = self.function
        if getattr(Evaluator, function.__name__, None) is function:  # a method of the interface: use the class's own
            function = getattr(type(evaluator), function.__name__)
        return function(evaluator, *self.arguments)


def request(function: Callable[[Evaluator, *Ts], T], *arguments: *Ts) -> Request[T]:
    """A request such as `request(Evaluator.held_out, candidate)`, whose answer is the scores.

    Args:
        function: a method of `Evaluator`, or a module's function whose first argument is an evaluator.
    """
    return Request(function, arguments)


@dataclass(frozen=True)
class Evaluated:
    """A candidate's plan, and its measurement if it was measured."""

    memory: MemoryFigures
    macs: int
    plan_json: str
    measurement: Measurement | None = None
    """None if it was not measured, or not on all images."""
    bound: Bound | None = None
    early: Early | None = None
    """`bound` and `early` are those of `reports.record.Trial`."""


def evaluated(
    evaluator: Evaluator, candidate: Candidate, limits: Mapping[str, float], screen: Screen | None
) -> Evaluated:
    """Plan a candidate, and measure it unless its plan exceeds a limit or screening ends it.

    Args:
        limits: limits by the names of `sweeps.config.constraints.PLANNED`.
    """
    plan = evaluator.plan_candidate(candidate)
    memory = MemoryFigures.of_plan(plan)
    costs = planned_costs(memory, plan.macs)
    answer = Evaluated(memory, plan.macs, plan.to_json())
    if any(costs[name] > limit for name, limit in limits.items()):
        return answer
    bound, is_audited = (None, False) if screen is None else (screen.predicted_bound(costs), screen.audited)
    if bound is not None and not is_audited:
        return replace(answer, bound=bound)
    stopped: list[Early] = []

    def check(so_far: Scores, images: int) -> Early | None:
        early = screen.stop_scoring(so_far, images, costs) if screen is not None and not stopped else None
        if early is not None:
            stopped.append(early)
        return None if is_audited else early

    result = evaluator.evaluate(candidate, check)
    measurement = None if isinstance(result, Early) else result
    return replace(answer, measurement=measurement, bound=bound, early=stopped[0] if stopped else None)


def costs_of_plan(evaluator: Evaluator, candidate: Candidate) -> dict[str, float]:
    """The planned costs of a candidate, see `sweeps.config.constraints.planned_costs`."""
    plan = evaluator.plan_candidate(candidate)
    return planned_costs(MemoryFigures.of_plan(plan), plan.macs)


@dataclass(frozen=True, eq=False)
class ShownImage:
    """A search image with its label and the predictions of candidates."""

    image_id: str
    image: np.ndarray
    """uint8 (H, W, 3)."""
    label: np.ndarray
    """uint8 (H, W)."""
    predictions: tuple[np.ndarray, ...]
    """Predicted classes, uint8 (H, W), for each candidate."""


def shown_image(evaluator: Evaluator, image_index: int, candidates: tuple[Candidate, ...]) -> ShownImage:
    """One search image with the classes that candidates predict for it."""
    image_id, image, label = evaluator.image(image_index)
    predictions = tuple(np.asarray(evaluator.overlay(candidate, image_index)) for candidate in candidates)
    return ShownImage(image_id, image, label, predictions)
