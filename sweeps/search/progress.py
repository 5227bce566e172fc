"""The progress line of a running sweep: trial, best so far, elapsed and remaining time."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from reports.record import State, Trial

LIVE_REFRESH_HZ = 4


def clock(seconds: float) -> str:
    """75 -> "1:15", 3675 -> "1:01:15"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def best_so_far(trials: Mapping[int, Trial]) -> str:
    """The most accurate feasible trial and its memory, as text."""
    measured = [t.measurement for t in trials.values() if t.measurement is not None and t.feasible]
    if not measured:
        return "nothing yet"
    best = max(measured, key=lambda m: (m.scores.miou, -m.memory.peak_memory_bytes))
    return f"mIoU {best.scores.miou:.3f} at {best.memory.peak_memory_bytes / 1e6:.2f} MB"


def one_line(trial: Trial) -> str:
    """A finished trial as a line of a log."""
    if trial.measurement is not None:
        memory = trial.measurement.memory.peak_memory_bytes / 1e6
        end = f"mIoU {trial.measurement.scores.miou:.3f}  {memory:8.3f} MB"
        end += "" if trial.feasible else f"  infeasible: {trial.reason}"
    else:
        end = f"{trial.state}: {trial.reason}"
    return f"{trial.label}  {trial.name:<38} {end}  ({trial.seconds:.1f} s)"


class Progress:
    """A live line on a terminal; elsewhere one line for each trial."""

    def __init__(self, console: Console, budget: int) -> None:
        self._console, self._budget = console, budget
        self._started = time.monotonic()
        self._finished_before = 0
        self._trials: Mapping[int, Trial] = {}
        self._phase = "starting the workers"
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=LIVE_REFRESH_HZ)

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def begin(self, trials: Mapping[int, Trial]) -> None:
        self._trials = trials
        self._finished_before = self._spent

    @property
    def _spent(self) -> int:
        """Trials that count against the budget."""
        return sum(trial.spent for trial in self._trials.values())

    def finished(self, trial: Trial) -> None:
        self._phase = "searching"
        line = one_line(trial)
        if not self._console.is_terminal:
            self._console.print(f"{line}  [{self.times()}]", markup=False, highlight=False, soft_wrap=True)
        elif trial.state is State.FAILED:
            self._console.print(line, style="red", markup=False, highlight=False)

    def say(self, phase: str) -> None:
        self._phase = phase
        if not self._console.is_terminal:
            self._console.print(phase, markup=False, highlight=False)

    def note(self, text: str) -> None:
        """Print a permanent line."""
        self._console.print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)

    def times(self) -> str:
        elapsed = time.monotonic() - self._started
        done, left = self._spent - self._finished_before, self._budget - self._spent
        if done == 0 or left <= 0:
            return f"{clock(elapsed)} elapsed"
        return f"{clock(elapsed)} elapsed, about {clock(elapsed / done * left)} to go"

    def _render(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            f"trial {self._spent}/{self._budget}",
            ProgressBar(total=self._budget, completed=self._spent, width=24),
            f"best {best_so_far(self._trials)}",
            f"[dim]{self.times()} · {self._phase}[/dim]",
        )
        return grid
