"""Screening: ending candidates early that are predicted not to reach the front.

Both bounds may be wrong, so a random share of the candidates they would end is measured nevertheless:

- **Before training.** A network of fewer bits or more sparsity is assumed to score at most the mIoU of the same network
  at higher precision or lower sparsity, plus a margin (noise: 8 bits may beat float). The candidate is ended if a trial
  of no higher cost reaches this bound.
- **While scoring.** After a part of the images, the difference in mIoU to the best trial of no higher cost is bounded
  by paired bootstrap over those images; if its upper end is below zero, the rest is not scored. This is racing (Maron &
  Moore 1994, "Hoeffding races", NeurIPS 6) with the bootstrap in place of Hoeffding's inequality.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeplab.compression import STAGE_BITS
from evaluation.accuracy import LEAST_IMAGES, Scores, enough_images, image_weights, resampled_mious
from reports.front import FrontPoint, pareto_front
from reports.record import Bound, Early, State, Trial
from sweeps.config.constraints import costs_of
from sweeps.config.schema import ScreeningConfig
from sweeps.config.space import Candidate

RESAMPLES = 1000
INTERIM_SHARES = (0.25, 0.5)
"""Shares of the images at which interim checks are made."""
LEAST_SCORED = 8
"""Least number of images of an interim check."""
InterimCheck = Callable[[Scores, int], Early | None]
"""Takes the scores of the first images and the number of all images; returns why to end scoring, or None."""


@dataclass(frozen=True)
class MeasuredTrial:
    """Costs and scores of a measured, feasible trial."""

    number: int
    costs: tuple[float, ...]
    """Objectives other than mIoU, in the study's order."""
    scores: Scores


@dataclass(frozen=True)
class Screen:
    """The data for screening one candidate, from the trials known when it was asked. Workers get it pickled."""

    objectives: tuple[str, ...]
    """Names of the costs, as in `sweeps.config.constraints.PLANNED`."""
    front_trials: tuple[MeasuredTrial, ...]
    """The present front, best mIoU first."""
    source: int | None
    """Number of the trial that bounds the candidate's mIoU."""
    bound: float
    """Upper bound of the candidate's mIoU, margin included; infinite without one."""
    miou_needed: float
    """Least mIoU within `constraints.miou_drop`; -infinity without that limit."""
    audited: bool
    """Whether this candidate is measured even if a bound would end it."""
    confidence: float
    """One-sided confidence of one interim check."""

    def dominating(self, costs: Mapping[str, float]) -> MeasuredTrial | None:
        """The most accurate trial that is not more expensive in any objective."""
        own = [costs[name] for name in self.objectives]
        return next((r for r in self.front_trials if all(a <= b for a, b in zip(r.costs, own, strict=True))), None)

    def predicted_bound(self, costs: Mapping[str, float]) -> Bound | None:
        """The bound that rules out the candidate with these planned costs, or None."""
        if self.source is None:
            return None
        dominating = self.dominating(costs)
        if dominating is not None and dominating.scores.miou >= self.bound:
            return Bound(self.bound, self.source, dominating.number, dominating.scores.miou)
        if self.bound < self.miou_needed:
            return Bound(self.bound, self.source, None, self.miou_needed)
        return None

    def stop_scoring(self, so_far: Scores, images: int, costs: Mapping[str, float]) -> Early | None:
        """The result of an interim check that ends scoring after the first of `images`, or None."""
        dominating = self.dominating(costs)
        if dominating is None:
            return None
        upper = upper_difference(so_far, dominating.scores, self.confidence)
        return None if upper >= 0 else Early(len(so_far.image_ids), images, dominating.number, upper, self.confidence)


def screen(
    candidate: Candidate,
    number: int,
    told: Sequence[Trial],
    objectives: Sequence[str],
    options: ScreeningConfig,
    miou_drop: float | None,
    seed: int,
) -> Screen:
    """The screening data of a candidate, from the trials told before it alone, so that it is the same in every run."""
    measured = [trial for trial in told if trial.state is State.COMPLETE]
    bounds = [
        (trial.measured.scores.miou + (0.0 if equal else options.margin), trial.number)
        for trial in measured
        for finer, equal in [compare(Candidate.from_params(trial.params), candidate)]
        if finer
    ]
    bound, source = min(bounds, default=(float("inf"), None))
    baseline = next((trial for trial in measured if trial.number == 0), None)
    needed = float("-inf")
    if miou_drop is not None and baseline is not None:
        needed = baseline.measured.scores.miou - miou_drop
    front_trials = [
        MeasuredTrial(trial.number, tuple(costs_of(trial)[name] for name in objectives), trial.measured.scores)
        for trial in measured
        if trial.feasible
    ]
    return Screen(
        objectives=tuple(objectives),
        front_trials=_front(front_trials) if options.enabled else (),
        source=source if options.enabled else None,
        bound=bound,
        miou_needed=needed,
        audited=random.Random(f"audit {seed} {number}").random() < options.audit,
        confidence=options.confidence,
    )


def compare(one: Candidate, other: Candidate) -> tuple[bool, bool]:
    """(whether `one` has at most the sparsity and at least the bits of `other`, whether both are the same network).

    Tiles are ignored, since they change no output.
    """
    a, b = one.compression, other.compression
    if a == b:
        return True, True
    keeps = a.sparsity == 0.0 or (a.pruning == b.pruning and a.sparsity <= b.sparsity)
    names = ("weight_bits", "activation_bits")
    fine = all(getattr(a, name) >= getattr(b, name) for name in names)
    return keeps and fine and all(one.bits_of(name) >= other.bits_of(name) for name in STAGE_BITS), False


def upper_difference(part: Scores, dominating: Scores, confidence: float) -> float:
    """One-sided upper bound of `part.miou - dominating.miou` on the images of `part`, by paired bootstrap.

    Classes without a label in these images are omitted.
    """
    seen = tuple(int(c) for c in np.flatnonzero(part.label_pixels.sum(axis=0)))
    scored = tuple(c for c in dominating.scored_classes if c in seen)
    if not scored:
        return float("inf")
    weights = image_weights(len(part.image_ids), RESAMPLES, seed=0)
    mine, theirs = (resampled_mious(scores.subset(part.image_ids, scored), weights) for scores in (part, dominating))
    return float(np.quantile(mine - theirs, confidence))


def pruning_reason(bound: Bound | None, early: Early | None) -> str | None:
    """A text that says why a candidate was not measured, or not on all images."""
    if bound is not None:
        most = f"is expected to score at most {bound.miou:.4f} (by trial-{bound.source:03d} and the margin)"
        if bound.dominating is None:
            return f"{most}, below the least that miou_drop allows, {bound.dominating_miou:.4f}"
        return f"{most}, which trial-{bound.dominating:03d} reaches ({bound.dominating_miou:.4f}) at no more cost"
    if early is not None:
        sure = "" if early.confidence is None else f" with confidence {early.confidence:g}"
        few = "" if enough_images(early.images) else f"; unreliable: from fewer than {LEAST_IMAGES} images"
        return (
            f"after {early.images} of {early.of} images dominated by trial-{early.dominating:03d}{sure}, which costs "
            f"no more (difference at most {early.upper:+.4f}{few})"
        )
    return None


def interim_checks(images: int) -> list[int]:
    """Numbers of images at which interim checks are made."""
    ends = {max(LEAST_SCORED, round(share * images)) for share in INTERIM_SHARES}
    return sorted(end for end in ends if end < images)


def _front(front_trials: Sequence[MeasuredTrial]) -> tuple[MeasuredTrial, ...]:
    """The non-dominated trials, best mIoU first."""
    points = [FrontPoint(r.number, r.scores.miou, r.costs[0], *r.costs[1:]) for r in front_trials]
    numbers = [equal[0].number for equal in pareto_front(points)]
    front = [dominating for dominating in front_trials if dominating.number in numbers]
    return tuple(sorted(front, key=lambda dominating: -dominating.scores.miou))
