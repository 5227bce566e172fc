"""How long it takes to find the front: the engine next to a plain loop of `study.optimize` over the same function.

python -m benchmarks.search.throughput --candidates 260 --seeds 5

1. Every candidate of the space is measured, which gives the whole front and its hypervolume.
2. A loop as Optuna's manual shows it, with its multivariate TPE: one warm process that keeps its images and models,
   and in it every candidate ranked, pruned, trained, quantized, scored (by TensorFlow) and planned from the start.
3. The same loop where which channels go is worked out once: its times are the loop's less those of working it out
   again, since the sampler is told the same either way.
4. The loop with a memo from parameters to results, once plain and once on top of 3: less the times of the repeats.
5. The engine as it comes, from an empty cache.

Each is timed from the start of its process until its trials hold 95 % of the whole front's hypervolume. The reference
point is the baseline's memory and 0.1 mIoU below the baseline: what is below is of no use.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.search.evaluators import open_scoring
from benchmarks.search.isolation import in_its_own_process, made
from evaluation.accuracy import Scores
from evaluation.errors import exits_on_user_error
from reports.record import Trial

SHARE = 0.95
USEFUL_DROP = 0.1
SPACES = {
    260: {
        "sparsity": [0.0, 0.125, 0.25, 0.375, 0.5],
        "weight_bits": [4, 5, 6, 8, 32],
        "activation_bits": [6, 8, 16, 32],
        "tile_count": [1, 2, 4, 8],
    },
    512: {
        "sparsity": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6],
        "weight_bits": [3, 4, 5, 6, 8, 32],
        "activation_bits": [6, 8, 16, 32],
        "tile_count": [1, 2, 4, 8],
    },
}
"""By the number of distinct candidates."""
COMPUTED_AGAIN = 8
"""Candidates whose results are compared with the engine's, computed by as many threads."""
RANKING = ("rank", "path")
"""Stages that say which channels go."""
LOOPS = ("plain", "memo", "ranked", "both")
LOOP_LIMIT = 400
"""Trials after which a loop is given up."""

Seen = tuple[float, float, int]
"""Seconds since the start, mIoU, bytes of peak memory."""


class ReachedError(Exception):
    """The engine's trials hold enough of the front."""


def load(folder: Path, candidates: int, seed: int, workers: int, **search: Any):
    """The configuration of a run, its files in `folder`."""
    from sweeps.config.load import load_config

    config = {
        "study": "throughput",
        "seed": seed,
        "data": {"name": "streets", "train": "train[:256]", "search": "search", "heldout": "heldout[:4]"},
        "space": SPACES[candidates],
        "finetune": {"steps": 100, "batch": 8, "learning_rate": 2e-3, "loss": "labels"},
        "search": {"workers": workers} | search,
        "report": {"overlays": 0},
    }
    file = folder / "throughput.yaml"
    file.write_text(json.dumps(config))
    return load_config(file, [f"out={folder / 'studies'}"])


class Front:
    """The front of the whole space, and how much of it some trials hold."""

    def __init__(self, points: Sequence[tuple[float, int]], baseline: tuple[float, int]) -> None:
        self._least_miou, self._most_bytes = baseline[0] - USEFUL_DROP, baseline[1]
        self._whole = self._hypervolume(points)

    def _hypervolume(self, points: Sequence[tuple[float, int]]) -> float:
        from reports.front import FrontPoint, hypervolume

        useful = [FrontPoint(n, miou - self._least_miou, peak) for n, (miou, peak) in enumerate(points)]
        return hypervolume([point for point in useful if point.miou > 0], self._most_bytes)

    def share(self, points: Sequence[tuple[float, int]]) -> float:
        return self._hypervolume(points) / self._whole

    def reached(self, trace: Sequence[Seen]) -> float | None:
        """Seconds after which `trace` held enough; None where it never did."""
        for count in range(1, len(trace) + 1):
            if self.share([(miou, peak) for _, miou, peak in trace[:count]]) >= SHARE:
                return trace[count - 1][0]
        return None


def measure_all(folder: Path, candidates: int, workers: int) -> tuple[Trial, ...]:
    """Every trial of the space; from an earlier run where there is one."""
    from rich.console import Console

    from reports.record import RECORD_FILE
    from reports.record_file import read_record
    from sweeps.sweep import run_sweep

    os.chdir(folder)
    study = folder / "studies" / "throughput"
    if (study / RECORD_FILE).exists():
        return read_record(study).trials
    config = load(folder, candidates, 0, workers, sampler="grid", trials=10_000)
    config = config.model_copy(update={"screening": config.screening.model_copy(update={"enabled": False})})
    return run_sweep(config, False, Console(), open_scoring).trials


def run_engine(folder: Path, candidates: int, seed: int, workers: int, front: Front, begun: float) -> dict:
    """The engine's trace until it holds enough of the front."""
    from rich.console import Console

    from sweeps import sweep
    from sweeps.storage.journal import Journal

    os.chdir(folder)
    trace: list[Seen] = []
    append = Journal.append

    def watched(journal: Journal, trial: Any) -> None:
        append(journal, trial)
        if trial.measurement is not None:
            measured = trial.measurement
            trace.append((time.time() - begun, measured.scores.miou, measured.memory.peak_memory_bytes))
            if front.share([(miou, peak) for _, miou, peak in trace]) >= SHARE:
                raise ReachedError

    Journal.append = watched
    config = load(folder, candidates, seed, workers, trials=10_000)
    with suppress(ReachedError):
        sweep.run_sweep(config, False, Console(quiet=True), open_scoring)
    trials = Journal(folder / "studies" / "throughput").trials.values()
    return {"trace": trace, "asked": len(trials), "spent": sum(trial.spent for trial in trials)}


class Forgetful:
    """A store that keeps which channels go, for as long as one trial takes; and how long it took to work that out."""

    ranked_s = 0.0

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}
        self._working: list[str] = []

    def forget(self) -> None:
        """A new trial begins."""
        self._kept.clear()
        self.ranked_s = 0.0

    def read(self, stage: str, name: str) -> bytes | None:
        return self._kept.get((stage, name))

    def write(self, stage: str, name: str, content: bytes) -> None:
        if stage in RANKING:
            self._kept[stage, name] = content

    @contextmanager
    def lock(self, stage: str, name: str) -> Iterator[None]:
        """What is computed in here; a stage of the ranking may ask for another one."""
        begun, outermost = time.perf_counter(), not self._working
        if stage in RANKING:
            self._working.append(stage)
        yield
        if stage in RANKING:
            self._working.pop()
            self.ranked_s += (time.perf_counter() - begun) * outermost


def run_loop(folder: Path, candidates: int, seed: int, front: Front, begun: float) -> dict:
    """The plain loop's trace, what it measured by name, and the traces of stronger baselines (see above)."""
    import optuna

    from benchmarks.search.scored_trial import LoopEvaluator
    from sweeps.storage.stage_cache import StageCache
    from sweeps.trial.context import open_context

    os.chdir(folder)
    config = load(folder, candidates, seed, 1)
    evaluator, store = LoopEvaluator(open_context(config)), Forgetful()
    evaluator.context.cache = StageCache(store)
    evaluator.prepare()
    evaluator.read_training_images()
    space = config.space.space()
    traces: dict[str, list[Seen]] = {kind: [] for kind in LOOPS}
    saved_s = dict.fromkeys(LOOPS, 0.0)
    found: dict[str, Scores] = {}

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        levels = {name: trial.suggest_categorical(name, levels) for name, levels in space.levels().items()}
        candidate, started = space.candidate(**levels), time.time()
        if trial.number:  # the first finds what was prepared
            store.forget()
        measured = evaluator.evaluate(candidate)
        seen, took = (measured.scores.miou, measured.memory.peak_memory_bytes), time.time() - started
        again = took if str(candidate) in found else 0.0
        found.setdefault(str(candidate), measured.scores)
        saved_s["ranked"] += store.ranked_s
        saved_s["memo"] += again
        saved_s["both"] += max(again, store.ranked_s)
        for kind, trace in traces.items():
            trace.append((time.time() - begun - saved_s[kind], *seen))
        if front.share([point for _, *point in traces["plain"]]) >= SHARE:
            trial.study.stop()
        return seen[0], seen[1] / 1e6

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    optuna.create_study(directions=["maximize", "minimize"], sampler=sampler).optimize(objective, n_trials=LOOP_LIMIT)
    return {"traces": traces, "found": found}


def compute_again(folder: Path, candidates: int, names: Sequence[str], threads: int) -> dict[str, Scores]:
    """Scores of some candidates, each from an empty cache, by so many threads."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
    from threadpoolctl import threadpool_limits

    from benchmarks.search.scored_trial import ScoringEvaluator
    from sweeps.storage.stage_cache import StageCache
    from sweeps.trial.context import open_context

    os.chdir(folder)
    config = load(folder, candidates, 0, 1)
    evaluator = ScoringEvaluator(open_context(config))
    wanted = {str(candidate): candidate for candidate in config.space.space().candidates()}
    found = {}
    with threadpool_limits(threads, user_api="blas"):
        for name in names:
            evaluator.context.cache = StageCache(Forgetful())
            found[name] = evaluator.evaluate(wanted[name]).scores
    return found


def main(
    candidates: Annotated[int, typer.Option(help=f"Size of the space: {' or '.join(map(str, SPACES))}.")] = 260,
    seeds: Annotated[int, typer.Option(help="Searches of each kind.")] = 5,
    workers: Annotated[int, typer.Option(help="Of the engine.")] = 2,
    whole: Annotated[
        Path | None, typer.Option(help="Folder for the study of all candidates; kept, and used again if there.")
    ] = None,
) -> None:
    """Print the seconds of each search and the ratios of their means."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.time()
        if whole is not None:
            whole.mkdir(parents=True, exist_ok=True)
        every = whole.resolve() if whole is not None else made(Path(scratch) / "all")
        trials = in_its_own_process(measure_all, every, candidates, workers)
        measured = {trial.name: trial.measurement for trial in trials if trial.measurement is not None}
        points = {name: (seen.scores.miou, seen.memory.peak_memory_bytes) for name, seen in measured.items()}
        front = Front(list(points.values()), points[trials[0].name])
        console.print(f"{len(points)} candidates measured in {time.time() - begun:.0f} s, {workers} workers")
        console.print("seconds until 95 % of the whole front's hypervolume:")
        console.print(" seed    loop (trials)    memo    ranked once    both    engine (measured of asked)")
        rows, looped = [], {}
        for seed in range(seeds):
            loop = in_its_own_process(
                run_loop, made(Path(scratch) / f"loop{seed}"), candidates, seed, front, time.time()
            )
            own = in_its_own_process(
                run_engine, made(Path(scratch) / f"own{seed}"), candidates, seed, workers, front, time.time()
            )
            looped |= loop["found"]
            row = [front.reached(trace) for trace in (*loop["traces"].values(), own["trace"])]
            rows.append([float("nan") if value is None else value for value in row])
            console.print(
                _row(f"{seed:5d}", rows[-1], f"({len(loop['traces']['plain']):3d})")
                + f" ({own['spent']} of {own['asked']})"
            )
        if not rows:
            return
        mean = np.array(rows).mean(axis=0)
        console.print(_row(" mean", mean, ""))
        plain, memo, ranked, both = mean[:-1] / mean[-1]
        console.print(f"the loop takes {plain:.1f} times as long, with a memo {memo:.1f} times;")
        console.print(f"where channels are ranked once {ranked:.1f} times, with a memo next to {both:.1f} times")
        threads = max(1, (os.cpu_count() or 1) // workers)
        chosen = list(looped)[:COMPUTED_AGAIN]
        again = in_its_own_process(compute_again, made(Path(scratch) / "again"), candidates, chosen, threads)
        for title, scores in ((f"again, alone, by {threads} threads as in a worker", again), ("in the loops", looped)):
            equal = sum(found == measured[name].scores for name, found in scores.items())
            console.print(
                f"{len(scores)} candidates computed {title}: {equal} identical to the engine's to the last bit"
            )


def _row(title: str, seconds: Sequence[float], trials: str) -> str:
    plain, memo, ranked, both, own = seconds
    return f"{title} {plain:8.0f} {trials:5s}   {memo:7.0f}    {ranked:11.0f}    {both:4.0f}    {own:6.0f}"


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(main)
    exits_on_user_error(command)()
