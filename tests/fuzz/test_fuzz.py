"""Every fuzz target for a moment, and for a minute as a slow proof; and the harness on parsers of known faults."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import strategies as st

from evaluation.errors import UserError
from tests.conftest import SHARED
from tests.fuzz.harness import FuzzTarget, Outcome, WrongResultError, edited, fuzz, load_targets, outcome_of

TARGETS = load_targets()
MOMENT_S, MINUTE_S = 1.5, 60.0


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_inputs_are_accepted_or_refused_in_one_line(target):
    tally = fuzz(target, MOMENT_S, SHARED if SHARED.is_dir() else None)
    assert tally.tried > 0
    assert not tally.faults, tally.report()


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_minute_of_inputs(target):
    tally = fuzz(target, MINUTE_S, SHARED if SHARED.is_dir() else None, first_seed=1_000_000)
    assert not tally.faults, tally.report()
    # A target that never lets anything in, or refuses nothing, tests nothing.
    assert tally.counts[Outcome.REFUSED] > 0


def parser_with_every_fault(data: bytes, folder: Path) -> None:
    if data == b"refused":
        raise UserError("file.txt: not a number; give one")
    if data == b"too long":
        raise UserError("file.txt: not a number: " + "x" * 5000)
    if data == b"traceback":
        raise KeyError("x")
    if data == b"hang":
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                continue
    if data == b"wrong":
        raise WrongResultError("2 + 2 = 5")
    (folder / "left").write_bytes(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"accepted", Outcome.ACCEPTED),
        (b"refused", Outcome.REFUSED),
        (b"too long", Outcome.TRACEBACK),
        (b"traceback", Outcome.TRACEBACK),
        (b"hang", Outcome.HANG),
        (b"wrong", Outcome.WRONG),
    ],
)
def test_the_harness_tells_how_an_input_ended(data, expected, tmp_path):
    target = FuzzTarget("all faults", "test", lambda shared: st.just(data), parser_with_every_fault, limit_s=1.0)
    assert outcome_of(target, data, tmp_path)[0] is expected
    assert not any(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_inputs():
    def seen(first_seed: int) -> list[bytes]:
        inputs: list[bytes] = []
        target = FuzzTarget("seen", "test", lambda shared: edited([b"a: 1\nb: 22\n"]), lambda d, f: inputs.append(d))
        fuzz(target, 60.0, None, first_seed, most=20)
        return inputs

    assert seen(3) == seen(3) != seen(4)
