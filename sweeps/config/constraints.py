"""The limits of a study, and the costs of a trial other than accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from evaluation.measurement import MemoryFigures
from reports.record import State, Trial

if TYPE_CHECKING:
    from sweeps.config.schema import ConstraintsConfig

PLANNED = ("peak_memory_mb", "flash_mb", "macs")
"""Limits that a plan alone decides, before any training."""


def planned_costs(memory: MemoryFigures, macs: int) -> dict[str, float]:
    """The planned costs of a candidate by the names of `PLANNED`: MB (10^6 bytes), MB, multiply-accumulates."""
    return {
        "peak_memory_mb": memory.peak_memory_bytes / 1e6,
        "flash_mb": memory.flash_bytes / 1e6,
        "macs": float(macs),
    }


def costs_of(trial: Trial) -> dict[str, float]:
    """`planned_costs` of a trial that was planned; empty for one that failed before."""
    if trial.memory is None or trial.macs is None:
        return {}
    return planned_costs(trial.memory, trial.macs)


def planned_limits(constraints: ConstraintsConfig) -> dict[str, float]:
    """The limits of `PLANNED` that are set."""
    return {name: limit for name in PLANNED if (limit := getattr(constraints, name)) is not None}


def excesses(trial: Trial, baseline: Trial | None, constraints: ConstraintsConfig) -> dict[str, float]:
    """How far a trial is over each limit, where known; it is feasible if no value is above 0."""
    costs = costs_of(trial)
    over = {name: costs[name] - limit for name, limit in planned_limits(constraints).items() if name in costs}
    measured, reference = trial.measurement, None if baseline is None else baseline.measurement
    if constraints.miou_drop is not None and measured is not None and reference is not None:
        drop = reference.scores.miou - measured.scores.miou
        over["miou_drop"] = drop - constraints.miou_drop
    return over


def judge(trial: Trial, baseline: Trial | None, constraints: ConstraintsConfig) -> Trial:
    """The trial with `feasible` set and, where it is over a limit, the reason."""
    if trial.state is State.FAILED:
        return trial
    over = {name: excess for name, excess in excesses(trial, baseline, constraints).items() if excess > 0}
    limits = planned_limits(constraints)
    if constraints.miou_drop is not None:
        limits["miou_drop"] = constraints.miou_drop
    reason = over_limits(over, limits)
    feasible = trial.state is State.COMPLETE and not over
    return replace(trial, feasible=feasible, reason=reason or (trial.reason if not feasible else None))


def over_limits(over: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """A text that names each exceeded limit with the trial's value."""
    return "; ".join(
        f"{name} {limits[name] + excess:.4g} is over the limit of {limits[name]:g}" for name, excess in over.items()
    )
