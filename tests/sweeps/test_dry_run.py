"""What a sweep would search, said without beginning it."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from standin_sweeps import sweep
from standin_trial import StandInEvaluator, open_evaluator

from evaluation.errors import UserError
from sweeps.cli.dry_run import budgets, evenly_spread, print_dry_run
from sweeps.config.schema import SweepConfig

Config = Callable[..., SweepConfig]


def dry_run(config: SweepConfig) -> str:
    text = io.StringIO()
    print_dry_run(config, Console(file=text, width=200), open_evaluator)
    return text.getvalue()


def peak_mb(config: SweepConfig) -> list[float]:
    plan = StandInEvaluator().plan_candidate
    return [plan(c).peak_memory_bytes / 1e6 for c in config.space.space().candidates()]


def test_it_counts_what_fits_by_plans_and_starts_nothing(config: Config) -> None:
    limited = config("constraints.peak_memory_mb=0.4", "search.workers=2", "search.sampler=null", "out=elsewhere")
    said = dry_run(limited)
    memory = peak_mb(limited)
    assert (
        "27 distinct candidates; at most 8 of them would be measured, asked by ehvi (seed 3), with 2 workers." in said
    )
    table = said[said.index("planned: all 27") :].splitlines()
    rows = [line.strip(" │").split("│") for line in table if line.count("│") == 3]
    shown = {float(mb): int(count) for mb, count in rows}
    assert len(shown) >= 5
    assert shown == {mb: sum(value <= mb for value in memory) for mb in shown}
    assert max(shown.values()) == 27
    assert f"Within the limits (peak_memory_mb 0.4): {sum(value <= 0.4 for value in memory)} of 27." in said
    # 60 steps of 8 images, 3 ms each for a gradient; 4 ms for each of 200 search images
    assert "Expected: roughly 0:15 for 8 trials (2 prunings of 7.4 s, 1.9 s per trial in addition)" in said
    assert not limited.out.exists()


def test_limits_that_nothing_keeps_are_said(config: Config) -> None:
    assert "No candidate keeps the limits" in dry_run(config("constraints.macs=10"))


def test_what_cannot_be_planned_in_time_is_left_out_evenly(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.cli.dry_run.PLANNING_S", 0.0)
    assert "planned: an even sample of 1 of 27 candidates" in dry_run(config())
    everything = list(range(180))
    assert sorted(evenly_spread(everything)) == everything
    for size in (10, 20, 60):
        first = sorted(evenly_spread(everything)[:size])
        assert max(np.diff([-1, *first, 180])) < 3 * 180 / size
    assert evenly_spread(everything[:1]) == [0]


def test_a_network_that_fails_is_said(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "raise:*")
    assert "The time cannot be estimated: the float network failed (RuntimeError" in dry_run(config())


def test_every_step_is_a_line_where_nobody_sees_a_spinner(config: Config) -> None:
    said = dry_run(config())
    steps = "checking the study's folder", "reading the labels", "ranking the channels", "planning", "timing the float"
    places = [said.index(f"\n{step}" if place else step) for place, step in enumerate(steps)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("overrides", "uri", "said"),
    [
        (["out=a-file"], "", "out: cannot write to .*a-file/stand-in \\(Not a directory\\); choose another"),
        (["out=/proc"], "", "out: cannot write to /proc/stand-in"),
        (["storage.url=postgresql://u@127.0.0.1:9/d"], "", r"storage\.url: .*:9/d does not answer"),
        ([], "http://127.0.0.1:9", r"MLFLOW_TRACKING_URI: http://127\.0\.0\.1:9 does not answer"),
    ],
)
def test_what_would_end_a_launch_ends_a_dry_run_alike(
    config: Config, monkeypatch: pytest.MonkeyPatch, overrides: list[str], uri: str, said: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    Path("a-file").write_text("")
    before = sorted(Path.cwd().rglob("*"))
    for begin in (dry_run, sweep):
        with pytest.raises(UserError, match=said):
            begin(config(*overrides))
    assert sorted(Path.cwd().rglob("*")) == before


def test_a_study_that_exists_is_said(config: Config) -> None:
    sweep(config("search.trials=1"))
    assert "stand-in exists: launch it with --resume, or use -o study=NAME." in dry_run(config())


def test_budgets_are_round_and_span_the_space() -> None:
    assert budgets(0.12, 1.86) == [0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0]
    assert budgets(5.0, 5.0) == [5.0]
    wide = budgets(0.01, 90.0)
    assert wide[0] == 0.01
    assert wide[-1] == 100.0
    assert len(wide) <= 10
