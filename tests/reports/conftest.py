"""A study as the stand-in trial would measure it, written straight into a folder."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "sweeps"))

from standin_trial import StandInEvaluator

from deeplab.compression import Compression
from evaluation.measurement import MemoryFigures
from reports.front import choose, pareto_front
from reports.overlays import save_row
from reports.record import ChainStep, Environment, ImportCheck, State, StudyRecord, Trial
from reports.record_file import write_record
from sweeps.config.space import BASELINE, Candidate
from sweeps.finish.comparison import chain_of

CANDIDATES = (
    BASELINE,
    Candidate(Compression("channels", 0.25, 8, 8), 4),
    Candidate(Compression("channels", 0.5, 4, 8), 8),
    Candidate(Compression("channels", 0.0, 8, 8), 2),
    Candidate(Compression("magnitude", 0.5, 8, 8), 2),
    Candidate(Compression("channels", 0.5, 4, 8), 16),
)
EVALUATOR = StandInEvaluator()


def trial(number: int, candidate: Candidate, folder: Path, state: State = State.COMPLETE) -> Trial:
    plan = EVALUATOR.plan_candidate(candidate)
    (folder / "plans").mkdir(exist_ok=True)
    (folder / f"plans/trial-{number:03d}.json").write_text(plan.to_json())
    made = Trial(
        number, candidate.as_params(), str(candidate), state, state is State.COMPLETE, seconds=1.5,
        finished_s=10.0 + 2 * number, plan_file=f"plans/trial-{number:03d}.json",
    )  # fmt: skip
    if state is State.COMPLETE:
        return replace(made, measurement=EVALUATOR.evaluate(candidate))
    if state is State.PRUNED:
        reason = "peak_memory_mb 1.5 is over the limit of 1"
        return replace(made, planned=MemoryFigures.of_plan(plan), reason=reason)
    return replace(made, reason="its worker ended (killed by signal 9)")


def record_of(trials: tuple[Trial, ...], folder: Path, **changes: object) -> StudyRecord:
    """The record of these trials, as `sweeps.finish.finalize` would make it."""
    data = EVALUATOR.describe()
    record = StudyRecord(
        study="stand-in",
        config={"study": "stand-in", "seed": 3, "network": {"source": "streets"}, "space": {"tile_count": [1, 2, 16]}},
        space_size=99,
        trials=trials,
        front=(),
        chosen=None,
        chosen_reason="",
        heldout={},
        data=data,
        import_check=ImportCheck("all", 8, 0.5761, 0.577, 0.005),
        overlays=(),
        environment=Environment(
            "python -m sweeps.launch pareto.yaml", "0123abc", True, {"python": "3.11.7"}, "a machine, 2 cores",
            "2026-11-23T00:00:00+00:00", 200.0,
        ),
    )  # fmt: skip
    front = pareto_front(record.feasible_points())
    baseline = record.baseline
    chosen, reason = choose(
        [equal[0] for equal in front], baseline.measurement.scores.miou if baseline else None, "knee"
    )
    scored = {equal[0].number for equal in front} | ({0} if baseline else set())
    by_number = {t.number: t for t in trials}
    rows = []
    if baseline and chosen:
        for index in range(3):
            image_id, image, label = EVALUATOR.image(index)
            maps = [
                EVALUATOR.overlay(Candidate.from_params(by_number[number].params), index)
                for number in (0, chosen.number)
            ]
            rows.append(save_row(folder, image_id, image, label, *maps, data.palette, "mIoU 0.50"))
    record = replace(
        record,
        front=tuple(tuple(p.number for p in equal) for equal in front),
        chosen=chosen.number if chosen else None,
        chosen_reason=reason,
        heldout={n: EVALUATOR.held_out(Candidate.from_params(by_number[n].params)) for n in sorted(scored)},
        overlays=tuple(rows),
        executions={
            equal[0].number: EVALUATOR.execution(Candidate.from_params(by_number[equal[0].number].params))
            for equal in front
        },
    )
    if chosen and baseline:
        steps = chain_of(Candidate.from_params(by_number[chosen.number].params)).items()
        chain = tuple(ChainStep.of(what, str(step), EVALUATOR.outline(step)) for what, step in steps)
        numbers = sorted({0, chosen.number})
        other_runtimes = {n: EVALUATOR.other_runtimes(Candidate.from_params(by_number[n].params)) for n in numbers}
        record = replace(record, chain=chain, other_runtimes=other_runtimes)
    record = replace(
        record,
        **changes,
    )
    write_record(record, folder)
    return record


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., StudyRecord]:
    """`study(State.COMPLETE, State.PRUNED, ...)`: the record of so many trials in these states, in `tmp_path`."""

    def make(*states: State, change: Callable[[Trial], Trial] = lambda made: made, **changes: object) -> StudyRecord:
        pairs = zip(CANDIDATES, states, strict=False)
        trials = tuple(change(trial(n, candidate, tmp_path, state)) for n, (candidate, state) in enumerate(pairs))
        return record_of(trials, tmp_path, **changes)

    return make
