"""Which sampler finds the front of a small ordered space soonest? Replayed where every candidate is known.

python -m benchmarks.search.throughput --whole DIR --seeds 0
python -m benchmarks.search.samplers DIR/studies/throughput

The engine asks its own questions, repeats, screening and all; they are answered from the record of the study that
measured every candidate. Time is counted as that study saw it: a pruning the first time its share is asked for, the
rest of a network the first time its bits are, a plan for each number of tiles.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.search.throughput import SHARE, SPACES, Front, load
from evaluation.errors import exits_on_user_error

SAMPLERS = ("ehvi", "tpe", "nsga2", "gp", "qmc", "grid", "random")
"""`gp` where PyTorch is installed."""


class Known:
    """A study of every candidate of a space."""

    def __init__(self, folder: Path) -> None:
        from reports.record_file import read_record
        from sweeps.config.space import Candidate

        record = read_record(folder)
        self.trials = {Candidate.from_params(trial.params): trial for trial in record.trials if trial.measurement}
        points = [(t.measurement.scores.miou, t.memory.peak_memory_bytes) for t in self.trials.values()]
        base = record.baseline.measurement
        self.front = Front(points, (base.scores.miou, base.memory.peak_memory_bytes))
        self.prune_s: dict[tuple, float] = {}
        self.network_s: dict[object, float] = {}
        for candidate, trial in self.trials.items():
            stages = trial.measurement.stage_seconds
            pruning = (candidate.compression.pruning, candidate.compression.sparsity)
            rest = sum(seconds for stage, seconds in stages.items() if stage != "prune")
            self.prune_s[pruning] = max(self.prune_s.get(pruning, 0.0), stages.get("prune", 0.0))
            self.network_s[candidate.compression] = max(self.network_s.get(candidate.compression, 0.0), rest)
        plans = [t.seconds - sum(t.measurement.stage_seconds.values()) for t in self.trials.values()]
        self.plan_s = float(np.median(plans))


def replay(known: Known, sampler: str, seed: int, screened: bool, share: float) -> tuple[float, int]:
    """Seconds in trials, and trials measured, until the front's share is reached."""
    from reports.record import State, Trial
    from sweeps.config.schema import ScreeningConfig
    from sweeps.search.optuna_study import Study
    from sweeps.storage.local_coordinator import LocalCoordinator
    from sweeps.trial.screening import pruning_reason, screen

    size = len(known.trials)
    space = load(Path(tempfile.gettempdir()), size, seed, 1).space.space()
    options = ScreeningConfig(enabled=screened)
    done: set[object] = set()
    points: list[tuple[float, int]] = []
    told: dict[int, Trial] = {}
    seconds, measured = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        study = Study(LocalCoordinator(Path(folder), size), "replay", space, sampler, seed)
        while (question := study.ask(told)) is not None:
            trial = replace(known.trials[question.candidate], number=question.number, feasible=True)
            compression = question.candidate.compression
            pruning = (compression.pruning, compression.sparsity)
            seconds += known.plan_s
            against = screen(
                question.candidate, question.number, list(told.values()), ("peak_memory_mb",), options, None, seed
            )
            bound = against.predicted_bound(_costs(trial)) if question.number else None
            if bound is not None and not against.audited:
                memory, macs = trial.memory, trial.macs
                reason = pruning_reason(bound, None)
                trial = replace(trial, state=State.PRUNED, measurement=None, planned=memory, planned_macs=macs)
                trial = replace(trial, feasible=False, bound=bound, reason=reason)
            else:
                measured += 1
                seconds += _once(done, pruning, known.prune_s) + _once(done, compression, known.network_s)
                points.append((trial.measurement.scores.miou, trial.memory.peak_memory_bytes))
            study.tell(question, trial, {})
            told[question.number] = trial
            if points and known.front.share(points) >= share:
                break
    return seconds, measured


def _once(done: set[object], key: object, costs: Mapping) -> float:
    if key in done:
        return 0.0
    done.add(key)
    return costs[key]


def _costs(trial) -> dict[str, float]:
    from sweeps.config.constraints import costs_of

    return costs_of(trial)


def main(
    study: Annotated[Path, typer.Argument(help="Study of every candidate, from the throughput benchmark.")],
    seeds: Annotated[int, typer.Option(help="Searches of each kind.")] = 8,
    share: Annotated[float, typer.Option(help="Of the whole front's hypervolume, at which a search ends.")] = SHARE,
) -> None:
    """Print the mean seconds and trials of each sampler, with and without screening."""
    from rich.console import Console
    from rich.table import Table

    known = Known(study)
    if len(known.trials) not in SPACES:
        raise SystemExit(f"{study}: holds {len(known.trials)} candidates, not the whole of a space of {list(SPACES)}")
    table = Table(
        title=f"{len(known.trials)} candidates, {seeds} seeds: until {share:.1%} of the front", title_justify="left"
    )
    for name in ("sampler", "screened", "seconds in trials", "worst", "trials measured"):
        table.add_column(name, justify="left" if name == "sampler" else "right")
    for sampler in SAMPLERS:
        if sampler == "gp" and find_spec("torch") is None:
            continue
        for screened in (True, False):
            count = 1 if sampler == "ehvi" else seeds  # it draws nothing
            found = [replay(known, sampler, seed, screened, share) for seed in range(count)]
            seconds, trials = np.array(found).T
            cells = (f"{seconds.mean():.0f}", f"{seconds.max():.0f}", f"{trials.mean():.1f}")
            table.add_row(sampler, "yes" if screened else "no", *cells)
    Console().print(table)


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(main)
    exits_on_user_error(command)()
