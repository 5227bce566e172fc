"""What the page says of budgets, of the choice's margin, and of what each technique saved."""

import itertools
from dataclasses import replace

import pytest

from evaluation.other_runtimes import Runtime, RuntimeUse
from reports.content import content, intervals
from reports.content_budgets import round_budgets
from reports.content_savings import chain_rows, litert_bytes, other_rows, waterfall_rows
from reports.other_runtimes import other_marks
from reports.record import OtherRuntimes, State

COMPLETE = [State.COMPLETE] * 6


def page(record):
    return content(record, intervals(record), {})


@pytest.mark.parametrize(
    ("smallest", "largest", "expected"),
    [
        (0.12, 0.4, [0.15, 0.2, 0.3, 0.5]),
        (1.0, 1.0, [1.0]),
        (0.95, 12.0, [1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0]),
    ],
)
def test_budgets_are_round_and_reach_from_the_smallest_to_the_largest(smallest, largest, expected) -> None:
    assert round_budgets(smallest, largest) == expected


def test_under_each_budget_stands_the_most_accurate_that_fits(study) -> None:
    record = study(*COMPLETE)
    rows = page(record)["budgets"]
    assert rows
    points = record.feasible_points()
    for row in rows:
        budget = float(row["budget"].split("\u202f")[0]) * 1e6
        best = max((p for p in points if p.peak_memory_bytes <= budget), key=lambda p: (p.miou, -p.peak_memory_bytes))
        assert int(row["trial"]) == best.number


def test_the_margin_to_limit_and_budget_is_said(study) -> None:
    config = {"seed": 3, "constraints": {"peak_memory_mb": 2.0}, "choice": {"rule": "budget", "budget_mb": 0.1}}
    record = study(*COMPLETE)
    said = page(replace(record, config=dict(record.config) | config))["answer"]["budget"]
    free = 2.0 - record.choice.memory.peak_memory_bytes / 1e6
    assert f"The limit is 2.000\u202fMB: {free:.3f}\u202fMB of it" in said
    assert "The budget is 0.100\u202fMB: passed by" in said
    assert "No budget was set" in page(record)["answer"]["budget"]


def test_the_waterfall_starts_where_litert_stands_and_ends_at_the_choice(study) -> None:
    record = study(*COMPLETE)
    rows = waterfall_rows(record)
    theirs = litert_bytes(record)
    assert theirs == record.other_runtimes[0].uses[1].arena_bytes + record.other_runtimes[0].file_bytes
    assert (rows[0].before_bytes, rows[0].after_bytes) == (None, theirs)
    for before, after in itertools.pairwise(rows):
        assert after.before_bytes == before.after_bytes
    assert rows[-1].after_bytes == record.choice.memory.peak_memory_bytes
    table = chain_rows(record)
    assert table[-1][2] == f"{theirs / record.choice.memory.peak_memory_bytes:.1f}"
    product = 1.0
    for row in table[:-1]:
        product *= float(row[2])
    assert product == pytest.approx(float(table[-1][2]), rel=0.02)


def test_without_other_runtimes_the_waterfall_starts_at_the_baseline(study) -> None:
    record = replace(study(*COMPLETE), other_runtimes={})
    rows = waterfall_rows(record)
    assert (rows[0].before_bytes, rows[0].after_bytes) == (None, record.baseline.memory.peak_memory_bytes)
    assert len(chain_rows(record)) == len(rows)
    assert waterfall_rows(replace(record, chain=())) == ()


def test_other_runtimes_count_as_they_are_used(study) -> None:
    """LiteRT by what it adds to a process, TFLM by arena and file; who refuses a file is said to."""
    record = study(*COMPLETE)
    first = OtherRuntimes(
        1000,
        (
            RuntimeUse(Runtime.LITERT_XNNPACK, 10, None, 5000, 4000),
            RuntimeUse(Runtime.LITERT_BUILTIN, None, None, None, None, "x.tflite: LiteRT refuses this file: odd"),
            RuntimeUse(Runtime.TFLM, 300, 40, 9999),
        ),
    )
    second = OtherRuntimes(None, (), "stem: .tflite has no 6-bit activations")
    record = replace(record, other_runtimes={0: first, record.chosen: second})
    assert [(mark.runtime, mark.memory_bytes) for mark in other_marks(record)] == [
        (Runtime.LITERT_XNNPACK, 5000),
        (Runtime.TFLM, 1340),
    ]
    rows = other_rows(record)
    assert [row.get("problem") for row in rows] == [
        None, None, "LiteRT refuses this file: odd", None, None, "stem: .tflite has no 6-bit activations",
    ]  # fmt: skip
