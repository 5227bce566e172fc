"""`--dry-run`: what a sweep would search, how many candidates fit which memory, and how long it may take.

No study is begun. What is computed for the answer, plans and one trial, stays in the stage cache, where the sweep finds
it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from evaluation.errors import UserError
from evaluation.measurement import Measurement
from reports.health import data_warnings
from sweeps.config import SweepConfig
from sweeps.executor import Executor, Failure
from sweeps.judging import planned_limits
from sweeps.progress import clock
from sweeps.space import BASELINE, Candidate, Space
from sweeps.sweep import open_executor
from sweeps.worker import TRIAL_MODULE, Describe, Evaluate, PlanOnly, Prepare

MOST_PLANNED = 2000
"""Candidates of a larger space are planned by an even sample of so many."""
ROUND = (1, 1.5, 2, 3, 5, 7)
BUDGETS = 8
"""Round budgets that are shown, about."""

Costs = Mapping[str, float]


def print_dry_run(config: SweepConfig, console: Console, trial_module: str = TRIAL_MODULE) -> None:
    """Print the space, what of it fits, and the time a sweep may take.

    Raises:
        UserError: the baseline cannot be planned or measured.
    """
    space = config.space.space()
    candidates = space.candidates()
    _print_space(config, space, len(candidates), console)
    step = max(1, math.ceil(len(candidates) / MOST_PLANNED))
    sample = tuple(dict.fromkeys((BASELINE, space.smallest(), *candidates[::step])))
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_executor(config, trial_module, Path(scratch) / "workers.log") as executor,
    ):
        with console.status("reading the labels"):
            described = _all(executor, {"data": Describe()}, None)["data"]
        if isinstance(described, Failure):
            raise UserError(f"the images cannot be described: {described.reason}")
        for sentence in data_warnings(described):
            console.print(f"Warning: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        if config.space.prunes_channels:
            with console.status("ranking the channels"):
                _all(executor, {"preparation": Prepare()}, None)
        planned = _all(executor, {candidate: PlanOnly(candidate) for candidate in sample}, console)
        _print_memory(config, planned, set(candidates[::step]), step, console)
        with console.status("timing one trial; what it computes is kept"):
            example = _example(space)
            timed = _all(executor, {"example": Evaluate(example)}, None)["example"]
    _print_time(config, space, example, timed, console)
    console.print("Nothing was started.")


def _print_space(config: SweepConfig, space: Space, size: int, console: Console) -> None:
    table = Table("searched", "levels", title=f"study {config.study}", title_justify="left")
    for name, levels in space.levels().items():
        shown = space.weight_bits if name == "weight_bits" else levels
        table.add_row(name, "  ".join("float" if level == 32 and "bits" in name else f"{level}" for level in shown))
    console.print(table)
    trials = min(config.search.trials, size + (BASELINE not in space.candidates()))
    console.print(
        f"{size} distinct candidates; at most {trials} of them would be measured, asked by "
        f"{config.search.sampler_name} (seed {config.seed}), with {config.search.workers} "
        f"worker{'s' * (config.search.workers > 1)}.",
        soft_wrap=True,
    )


def _print_memory(
    config: SweepConfig,
    planned: Mapping[Candidate, Costs | Failure],
    searched: set[Candidate],
    step: int,
    console: Console,
) -> None:
    for name, candidate in (("baseline", BASELINE), ("smallest", config.space.space().smallest())):
        costs = planned[candidate]
        if isinstance(costs, Failure):
            raise UserError(f"{name} ({candidate}) cannot be planned: {costs.reason}")
        console.print(
            f"{name:>9}: {costs['peak_memory_mb']:8.3f} MB planned peak memory  ({candidate})", highlight=False
        )
    known = [costs for candidate, costs in planned.items() if candidate in searched and not isinstance(costs, Failure)]
    limits = planned_limits(config.constraints)
    fitting = [costs for costs in known if all(costs[name] <= limit for name, limit in limits.items())]
    memory = np.array([costs["peak_memory_mb"] for costs in known])
    what = f"an even sample of {len(known)}" if step > 1 else f"all {len(known)}"
    table = Table(title=f"planned: {what} candidates", title_justify="left")
    for name in ("peak memory, MB", "candidates that fit"):
        table.add_column(name, justify="right")
    for budget in budgets(memory.min(), memory.max()):
        table.add_row(f"{budget:g}", f"{(memory <= budget).sum()}")
    console.print(table)
    if limits:
        said = ", ".join(f"{name} {limit:g}" for name, limit in limits.items())
        console.print(f"Within the limits ({said}): {len(fitting)} of {len(known)}.", highlight=False)
        if not fitting:
            console.print("No candidate keeps the limits; widen the space or the limits.", style="red")
    failed = sum(isinstance(costs, Failure) for costs in planned.values())
    if failed:
        console.print(f"{failed} candidates cannot be planned; they would fail.", style="red")


def budgets(least: float, most: float) -> list[float]:
    """Round figures from the first that anything fits to the first that everything fits, about `BUDGETS` of them."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    every = [float(f"{factor}e{power}") for power in powers for factor in ROUND]
    above = [value for value in every if value >= least]
    needed = above[: next((i for i, value in enumerate(above) if value >= most), len(above) - 1) + 1]
    stride = max(1, round(len(needed) / BUDGETS))
    return [*needed[:-1:stride], needed[-1]]


def _example(space: Space) -> Candidate:
    """A candidate that passes every stage: pruned and quantised, where the space has such."""
    candidates = [c for c in space.candidates() if c.compression.sparsity > 0] or list(space.candidates())
    quantised = [c for c in candidates if not c.compression.is_float] or candidates
    return quantised[len(quantised) // 2]


def _print_time(config: SweepConfig, space: Space, example: Candidate, timed: object, console: Console) -> None:
    measurement: Measurement | None = None if isinstance(timed, Failure) else timed.measurement
    if measurement is None:
        reason = timed.reason if isinstance(timed, Failure) else "it was not measured"
        console.print(f"The time cannot be foretold: {example} failed ({reason}).", style="red")
        return
    stages = measurement.stage_seconds
    prune_s = stages.get("prune", 0.0)
    rest_s = sum(stages.values()) - prune_s
    networks = {(c.compression.pruning, c.compression.sparsity) for c in space.candidates() if c.compression.sparsity}
    trials = min(config.search.trials, len(space.candidates()))
    prunings = min(len(networks), trials)
    seconds = (prunings * prune_s + trials * rest_s) / config.search.workers
    console.print(
        f"Expected: about {clock(seconds)} for {trials} trials ({prunings} prunings of {prune_s:.1f} s, {rest_s:.1f} s "
        f"a trial besides, as timed on {example}), and the report. What is in the cache already takes no time.",
        highlight=False,
        soft_wrap=True,
    )


def _all(executor: Executor, requests: Mapping, console: Console | None) -> dict:
    """Answers by key; plans as their costs."""
    for key, request in requests.items():
        executor.submit(key, request)
    answers: dict = {}

    def arriving() -> Sequence:
        while len(answers) < len(requests):
            for answer in executor.poll(0.5):
                answers[answer.key] = answer.value
                yield answer

    bar = track(arriving(), "planning", len(requests), console=console, transient=True) if console else arriving()
    for _ in bar:
        pass
    return answers
