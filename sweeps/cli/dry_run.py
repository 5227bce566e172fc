"""`--dry-run`: the space of a sweep, the number of candidates that fit each memory budget, and the expected time.

It makes the checks of `launch` in the same order, trains nothing and creates no study. Its results stay in the cache
next to the studies if one exists, and are dropped otherwise.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from evaluation.errors import UserError
from reports.health import data_warnings
from sweeps.config.constraints import planned_limits
from sweeps.config.schema import SweepConfig
from sweeps.config.space import BASELINE, Candidate, Space
from sweeps.inputs.splits import open_images
from sweeps.search.launch_checks import check_launch
from sweeps.search.progress import clock
from sweeps.trial.evaluator import Evaluator, OpenEvaluator, open_evaluator
from sweeps.trial.requests import Request, costs_of_plan, request
from sweeps.workers.start import open_workers
from sweeps.workers.worker_pool import Failure, WorkerPool, arrived, ask_all

PLANNING_S = 8.0
"""Time limit of planning, in seconds; the candidates planned by then are an even sample."""
ROUND = (1, 1.5, 2, 3, 5, 7)
BUDGETS = 8
"""About the number of budgets shown."""

# Constant seconds of a trial on two idle cores, without the work that grows with network and images: quantization and
# timing the program; TensorFlow's tracing, where it trains: `stage_seconds` of trials of pareto.yaml, rounded.
TRIAL_S = 1.5
PRUNING_S = 6.0
ADAROUND_S = 15.0
SCORINGS = 2.0
"""Time to score a quantized network relative to the float one, about."""
STEP = 3.0
"""Forward passes that a training step takes, about: gradients cost about two."""

Costs = Mapping[str, float]


def print_dry_run(config: SweepConfig, console: Console, open_evaluator: OpenEvaluator = open_evaluator) -> None:
    """Make the checks of `launch`; print the space, the candidates that fit, and the expected time.

    Raises:
        UserError: an error that would end `launch` before its first trial.
    """
    with tempfile.TemporaryDirectory() as scratch:
        study, config = config.folder, _with_existing_caches(config, Path(scratch))
        _say(console, "checking the study's folder, MLflow, databases, network, images and levels")
        check_launch(config, console, folder=study)
        if study.exists():
            console.print(f"{study} exists: launch it with --resume, or use -o study=NAME.", soft_wrap=True)
        _print_plans_and_time(config, console, open_evaluator, Path(scratch))
    console.print("Nothing was started.")


def _with_existing_caches(config: SweepConfig, scratch: Path) -> SweepConfig:
    """The configuration with studies and missing caches in a temporary folder; existing caches are used."""
    out = config.out if (config.out / ".cache").is_dir() else scratch
    place = config.cache_place
    if config.cache.place is None:
        place = str(out / ".cache")
    elif "://" in place or not Path(place).is_dir():
        place = str(scratch / ".cache")
    return config.model_copy(update={"out": out, "cache": config.cache.model_copy(update={"place": place})})


def _print_plans_and_time(config: SweepConfig, console: Console, open_evaluator: OpenEvaluator, scratch: Path) -> None:
    space = config.space.space()
    candidates = space.candidates()
    _print_space(config, space, len(candidates), console)
    with open_workers(config, open_evaluator, scratch / "workers.log") as executor:
        _say(console, "reading the labels")
        described = ask_all(executor, {"data": request(Evaluator.describe)})["data"]
        if isinstance(described, Failure):
            raise UserError(f"the images cannot be described: {described.reason}")
        for sentence in data_warnings(described):
            console.print(f"Warning: {sentence}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        if config.space.prunes_channels:
            _say(console, "ranking the channels")  # by the first plan; `prepare` would load training images too
        _say(console, f"planning up to {len(candidates)} candidates, for about {PLANNING_S:.0f} s")
        ends = {"baseline": BASELINE, "smallest": space.smallest()}
        planned = ask_all(executor, {name: request(costs_of_plan, candidate) for name, candidate in ends.items()})
        for name, candidate in ends.items():
            _print_end(name, candidate, planned[name], console)
        sample = _plan_within(PLANNING_S, executor, evenly_spread(candidates), config.search.workers)
        _print_memory(config, list(sample.values()), len(candidates), console)
        _say(console, "timing the float network on a few images")
        scoring = ask_all(executor, {"time": request(Evaluator.scoring_seconds)})["time"]
    _print_time(config, space, scoring, console)


def _say(console: Console, what: str) -> None:
    """Print the present step, which may take seconds, as a line."""
    console.print(f"{what} ...", highlight=False, soft_wrap=True)


def evenly_spread(candidates: Sequence[Candidate]) -> list[Candidate]:
    """All candidates in steps of the golden ratio, an order in which every prefix is an even sample."""
    size = len(candidates)
    step = next(
        step for step in range(max(1, round(size * (math.sqrt(5) - 1) / 2)), size + 1) if math.gcd(step, size) == 1
    )
    return [candidates[index * step % size] for index in range(size)]


def _plan_within(
    seconds: float, executor: WorkerPool, candidates: Sequence[Candidate], workers: int
) -> dict[Candidate, Costs | Failure]:
    """The costs, in order, of the candidates that can be planned within this time, of one at least."""
    end = time.monotonic() + seconds
    waiting = list(reversed(candidates))
    asked: dict[Candidate, Request[Costs]] = {}
    planned: dict[Candidate, Costs | Failure] = {}
    while len(asked) > len(planned) or (waiting and (not planned or time.monotonic() < end)):
        while waiting and len(asked) - len(planned) < workers and (not planned or time.monotonic() < end):
            candidate = waiting.pop()
            asked[candidate] = request(costs_of_plan, candidate)
            executor.submit(candidate, asked[candidate])
        planned |= arrived(executor, asked)
    return planned


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


def _print_end(name: str, candidate: Candidate, costs: Costs | Failure, console: Console) -> None:
    if isinstance(costs, Failure):
        raise UserError(f"{name} ({candidate}) cannot be planned: {costs.reason}")
    console.print(f"{name:>9}: {costs['peak_memory_mb']:8.3f} MB planned peak memory  ({candidate})", highlight=False)


def _print_memory(config: SweepConfig, sample: Sequence[Costs | Failure], size: int, console: Console) -> None:
    known = [costs for costs in sample if not isinstance(costs, Failure)]
    if failed := len(sample) - len(known):
        console.print(f"{failed} of {len(sample)} candidates cannot be planned; they would fail.", style="red")
    if not known:
        return
    limits = planned_limits(config.constraints)
    fitting = [costs for costs in known if all(costs[name] <= limit for name, limit in limits.items())]
    memory = np.array([costs["peak_memory_mb"] for costs in known])
    what = f"all {size}" if len(sample) == size else f"an even sample of {len(sample)} of {size}"
    table = Table(title=f"planned: {what} candidates", title_justify="left", min_width=len(what) + 20)
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


def budgets(least: float, most: float) -> list[float]:
    """About `BUDGETS` round budgets in MB, from the first that any candidate fits to the first that all fit."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    every = [float(f"{factor}e{power}") for power in powers for factor in ROUND]
    above = [value for value in every if value >= least]
    needed = above[: next((i for i, value in enumerate(above) if value >= most), len(above) - 1) + 1]
    stride = max(1, round(len(needed) / BUDGETS))
    return [*needed[:-1:stride], needed[-1]]


def _print_time(config: SweepConfig, space: Space, scoring_s: float | Failure, console: Console) -> None:
    """Print the expected time of a study, from the float network's time for one image in seconds."""
    if isinstance(scoring_s, Failure):
        console.print(f"The time cannot be estimated: the float network failed ({scoring_s.reason}).", style="red")
        return
    images = len(open_images(config.data).search)
    trials = min(config.search.trials, len(space.candidates()))
    networks = {(c.compression.pruning, c.compression.sparsity) for c in space.candidates() if c.compression.sparsity}
    prunings = min(len(networks), trials)
    tuning, quantization = config.finetune, config.quantization
    step_s = STEP * tuning.batch * scoring_s
    pruning_s = PRUNING_S + tuning.steps * step_s
    trial_s = TRIAL_S + SCORINGS * images * scoring_s + quantization.aware_steps * step_s
    trial_s += ADAROUND_S * (quantization.rounding == "learned")
    seconds = (prunings * pruning_s + trials * trial_s) / config.search.workers
    console.print(
        f"Expected: roughly {clock(seconds)} for {trials} trials ({prunings} prunings of {pruning_s:.1f} s, "
        f"{trial_s:.1f} s per trial in addition), and the report. Nothing was trained for this: the float network "
        f"takes {1e3 * scoring_s:.1f} ms an image here, and the rest is as on two idle cores, so it may take half "
        "or twice as long. Stages in the cache take no time.",
        highlight=False,
        soft_wrap=True,
    )
