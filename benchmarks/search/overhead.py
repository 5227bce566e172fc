"""What a trial costs beyond its evaluation: the engine next to a plain loop over Optuna's database and MLflow.

python -m benchmarks.search.overhead --trials 1000

Both search the same space with the same sampler (TPE), plan the same network, and write the same numbers to MLflow and
to Optuna on SQLite; the loop does so the way the manuals of the two show it. Overhead is the wall time of a trial less
that of its evaluation. Then a long study with the default sampler shows whether that grows.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.search.evaluators import open_planning
from benchmarks.search.isolation import in_its_own_process, made
from evaluation.errors import exits_on_user_error

BLOCK = 100
CONFIG = {
    "study": "overhead",
    "data": {"name": "streets"},
    "space": {
        "sparsity": [round(0.025 * step, 3) for step in range(29)],
        "weight_bits": [2, 3, 4, 5, 6, 8, 16, 32],
        "activation_bits": [4, 6, 8, 16, 32],
        "tile_count": [1, 2],
    },
    "channels": {"allotment": "uniform"},
    "screening": {"enabled": False},
    "report": {"overlays": 0},
}


@dataclass
class Clock:
    """Seconds of each call of some functions, by name."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, name: str, function: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds.setdefault(name, []).append(time.perf_counter() - begun)

        return call

    def of(self, name: str) -> np.ndarray:
        return np.array(self.seconds.get(name, [0.0]))


def load(folder: Path, trials: int, workers: int, sampler: str = "ehvi"):
    """The configuration of the benchmark, its files in `folder`."""
    import json

    from sweeps.config.load import load_config

    file = folder / "overhead.yaml"
    file.write_text(json.dumps(CONFIG))
    search = [
        f"search.{name}={value}" for name, value in (("trials", trials), ("workers", workers), ("sampler", sampler))
    ]
    return load_config(file, [*search, f"out={folder / 'studies'}"])


@contextmanager
def inside(folder: Path):
    """MLflow's database and artifacts are in the current folder."""
    former = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(former)


def run_engine(folder: Path, trials: int, workers: int, sampler: str) -> tuple[float, Clock]:
    """Wall seconds of the search, and of its parts by trial."""
    from rich.console import Console

    from sweeps import sweep
    from sweeps.search import loop as engine
    from sweeps.search import optuna_study as study_module
    from sweeps.search.optuna_study import Study
    from sweeps.storage.journal import Journal
    from sweeps.tracking.runs import Tracker

    clock, wall = Clock(), Clock()
    names = {"ask": (Study, "ask"), "sampler": (study_module, "next_candidate"), "tell": (Study, "tell")}
    names |= {"write": (Tracker, "log_trial"), "journal": (Journal, "append")}
    kept = {place: getattr(*place) for place in names.values()}
    search = engine.run_trials
    try:
        for name, place in names.items():
            setattr(*place, clock.timed(name, kept[place]))
        engine.run_trials = wall.timed("search", search)
        with inside(folder):
            begun = time.perf_counter()
            record = sweep.run_sweep(load(folder, trials, workers, sampler), False, Console(quiet=True), open_planning)
            clock.seconds["sweep"] = [time.perf_counter() - begun]
    finally:
        engine.run_trials = search
        for place, function in kept.items():
            setattr(*place, function)
    clock.seconds["evaluation"] = [trial.seconds for trial in record.trials]
    return float(wall.of("search").sum()), clock


def run_loop(folder: Path, trials: int) -> tuple[float, Clock]:
    """The same of `study.optimize` over a function that plans and logs."""
    os.environ.pop("MLFLOW_DISABLE_TELEMETRY", None)  # as MLflow comes
    import mlflow
    import optuna

    from benchmarks.search.planned_trial import open_planning_evaluator
    from sweeps.config.space import Candidate
    from sweeps.tracking.metrics import memory_metrics

    config = load(folder, trials, 1)
    evaluator, clock = open_planning_evaluator(config), Clock()
    space = config.space.space()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_experiment("loop")

    def evaluate(candidate: Candidate):
        return evaluator.plan_candidate(candidate), evaluator.evaluate(candidate)

    evaluate = clock.timed("evaluation", evaluate)

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        chosen = {name: trial.suggest_categorical(name, levels) for name, levels in space.levels().items()}
        candidate = space.candidate(**chosen)
        plan, measured = evaluate(candidate)
        with mlflow.start_run(nested=True, run_name=f"trial-{trial.number:03d}"):
            mlflow.set_tags({"candidate": str(candidate), "state": "complete", "feasible": "true", "on_front": "false"})
            mlflow.log_params(candidate.as_params())
            mlflow.log_metrics(memory_metrics(measured.memory) | {"miou": measured.scores.miou, "macs": plan.macs})
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / "plan.json"
                file.write_text(plan.to_json())
                mlflow.log_artifact(str(file), "plan")
        return measured.scores.miou, measured.memory.peak_memory_bytes / 1e6

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=0, multivariate=True)
    directions = ["maximize", "minimize"]
    study = optuna.create_study(storage=f"sqlite:///{folder / 'loop.db'}", directions=directions, sampler=sampler)
    begun = time.perf_counter()
    with mlflow.start_run(run_name="loop"):
        study.optimize(objective, n_trials=trials)
    return time.perf_counter() - begun, clock


def main(
    trials: Annotated[int, typer.Option(help="Trials of the engine.")] = 1000,
    loop_trials: Annotated[int, typer.Option(help="Trials of the plain loop, and of the engine next to it.")] = 200,
    workers: Annotated[int, typer.Option(help="Workers of the long study.")] = 2,
) -> None:
    """Print what a trial costs in both, and whether that grows."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as scratch:
        loop_wall, loop = in_its_own_process(run_loop, made(Path(scratch) / "loop"), loop_trials)
        wall, short = in_its_own_process(run_engine, made(Path(scratch) / "engine"), loop_trials, 1, "tpe")
        long_wall, long = in_its_own_process(run_engine, made(Path(scratch) / "long"), trials, workers, "ehvi")
    plain = 1000 * (loop_wall - loop.of("evaluation").sum()) / loop_trials
    own = 1000 * (wall - short.of("evaluation").sum()) / loop_trials
    console.print(f"overhead of a trial, {loop_trials} trials, one worker, multivariate TPE, evaluation apart:")
    console.print(f"  plain loop, Optuna on SQLite and MLflow   {plain:6.1f} ms")
    console.print(f"  engine                                    {own:6.1f} ms   {own / plain:.2f} of the loop's")
    console.print(
        f"{trials} trials, {workers} workers, the default sampler: {long.of('sweep').sum():.0f} s from start to report",
        end="; ",
    )
    console.print(f"the search {long_wall:.0f} s", end="; ")
    console.print(f"evaluation {long.of('evaluation').sum():.0f} s in the workers")
    table = Table("trials", title="ms a trial, mean", title_justify="left")
    for name in ("sampler", "ask, the rest", "tell", "journal", "MLflow"):
        table.add_column(name, justify="right")
    for start in range(0, trials, BLOCK):
        block = slice(start, min(start + BLOCK, trials))
        count = block.stop - block.start
        sampler = _share(long.of("sampler"), block, trials) / count
        parts = [sampler, _share(long.of("ask"), block, trials) / count - sampler]
        parts += [_share(long.of(name), block, trials) / count for name in ("tell", "journal", "write")]
        table.add_row(f"{block.start}-{block.stop - 1}", *(f"{1000 * part:.1f}" for part in parts))
    console.print(table)


def _share(seconds: np.ndarray, block: slice, trials: int) -> float:
    """Seconds of the calls that belong to a block of trials; a trial may ask the sampler several times."""
    scale = len(seconds) / trials
    return float(seconds[round(block.start * scale) : round(block.stop * scale)].sum())


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(main)
    exits_on_user_error(command)()
