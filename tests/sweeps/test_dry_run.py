"""What a sweep would search, said without beginning it."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from standin_trial import Context, plan_candidate

from sweeps.config import SweepConfig
from sweeps.dry_run import budgets, print_dry_run

Config = Callable[..., SweepConfig]


def dry_run(config: SweepConfig) -> str:
    text = io.StringIO()
    print_dry_run(config, Console(file=text, width=200), "standin_trial")
    return text.getvalue()


def peak_mb(config: SweepConfig) -> list[float]:
    context = Context(Path("/dev/null"), "", 0.0)
    return [plan_candidate(c, context).peak_memory_bytes / 1e6 for c in config.space.space().candidates()]


def test_it_counts_what_fits_by_plans_and_starts_nothing(config: Config) -> None:
    limited = config("constraints.peak_memory_mb=0.4", "search.workers=2")
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
    assert "Expected: about 0:02 for 8 trials (2 prunings of 0.5 s, 0.2 s a trial besides" in said
    assert not (limited.folder / "study.json").exists()
    assert not (limited.folder / "trials.jsonl").exists()


def test_limits_that_nothing_keeps_are_said(config: Config) -> None:
    assert "No candidate keeps the limits" in dry_run(config("constraints.macs=10"))


def test_a_large_space_is_planned_by_a_sample(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.dry_run.MOST_PLANNED", 10)
    assert "planned: an even sample of 9 candidates" in dry_run(config())


def test_a_trial_that_fails_is_said(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "raise:*")
    assert "The time cannot be foretold" in dry_run(config())


def test_budgets_are_round_and_span_the_space() -> None:
    assert budgets(0.12, 1.86) == [0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0]
    assert budgets(5.0, 5.0) == [5.0]
    wide = budgets(0.01, 90.0)
    assert wide[0] == 0.01
    assert wide[-1] == 100.0
    assert len(wide) <= 10
