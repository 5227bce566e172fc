"""Interleaved timing of several programs, so that other load of the machine affects all of them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

Run = Callable[[], float]
"""Runs once; returns the seconds."""

ROUNDS = 7


def interleaved(runs: Mapping[str, Run], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each program; the first of `rounds` + 1 rounds is a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            seconds = run()
            if number:
                times[name].append(seconds)
    return {name: median(taken) for name, taken in times.items()}
