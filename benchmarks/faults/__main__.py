"""Fault injection: sweeps that are killed, cut off from their services, and then resumed. Is anything lost, doubled or
left running?

python -m benchmarks.faults --repetitions 30
python -m benchmarks.faults --only "MLflow restarted" --repetitions 3

Each repetition starts a small study, injects a fault (`fault_kinds`) at a random moment, resumes the study until it
ends, and compares it with a control run, into which no fault is injected. The trials plan a real network and measure
nothing else (`benchmarks.search.planned_trial`).
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.faults.kinds import BUSY_MS, FAULTS, Fault, LeftOutError
from benchmarks.faults.small_study import TRIALS, Disturbed, Harm, outcome, wait
from benchmarks.search.evaluators import open_planning
from benchmarks.search.isolation import made
from evaluation.errors import exits_on_user_error

MOST_RESUMES = 6


def inject(fault: Fault, folder: Path, rng: random.Random, undisturbed: dict) -> Harm:
    """One repetition.

    Raises:
        LeftOutError: this machine cannot do that.
    """
    with fault.place(folder) as place:
        disturbed = place.study()
        for attempt in range(MOST_RESUMES):
            process = disturbed.launch()
            if attempt == 0 and (fault.at_once or disturbed.until(process, rng.randrange(TRIALS))):
                if not fault.at_once:
                    time.sleep(0.2 * rng.random())
                fault.harm(disturbed, process, rng, place)
            complete = disturbed.end(process)
            if disturbed.lost or (complete and not _unwritten(disturbed)):
                break
        harm = disturbed.harm(undisturbed)
        for other, process in place.others:
            if not other.end(process):
                return Harm(differs=1, launches=harm.launches + other.launches)
            found = other.harm(undisturbed)
            for name in (field.name for field in fields(Harm)):
                setattr(harm, name, getattr(harm, name) + getattr(found, name))
        return harm


def _unwritten(disturbed: Disturbed) -> bool:
    """Whether runs are missing in MLflow, which `--resume` writes as it says."""
    children, running = disturbed.runs()
    return len(children) != len(disturbed.trials()) or running > 0


def launch(folder: Path, resume: bool, overrides: list[str]) -> None:
    """The sweep of a repetition, in a process of its own."""
    from rich.console import Console

    from sweeps.config.load import load_config
    from sweeps.storage import sqlite
    from sweeps.sweep import run_sweep
    from sweeps.workers.output import Output

    sqlite.BUSY_MS = BUSY_MS
    os.chdir(folder)
    config = load_config(folder / "config.yaml", overrides)
    exits_on_user_error(run_sweep)(config, resume, Console(file=Output()), open_planning)


def main(
    repetitions: Annotated[int, typer.Option(help="Studies to disturb; the faults take turns.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only faults of this name; may be repeated.")] = None,
    launch_folder: Annotated[Path | None, typer.Option("--launch", hidden=True)] = None,
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = False,
    override: Annotated[list[str] | None, typer.Option("-o", hidden=True)] = None,
) -> None:
    """Print how often each fault was injected and what came of it; exit status 1 where anything did."""
    if launch_folder is not None:
        return launch(launch_folder, resume, override or [])
    from rich.console import Console
    from rich.table import Table

    unknown = [name for name in only or [] if name not in FAULTS]
    if unknown:
        raise typer.BadParameter(f"no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    console, rng = Console(highlight=False), random.Random(seed)
    harms: dict[str, list[Harm]] = {fault: [] for fault in only or FAULTS}
    with tempfile.TemporaryDirectory() as scratch:
        sound = Disturbed(made(Path(scratch) / "sound"))
        wait(sound.launch())
        expected = outcome(sound.study)
        for repetition in range(repetitions):
            fault = list(harms)[repetition % len(harms)]
            try:
                harm = inject(FAULTS[fault], Path(scratch) / f"{repetition}", rng, expected)
            except LeftOutError as error:
                console.print(f"{fault}: left out, {error}")
                continue
            harms[fault].append(harm)
            done = harm.launches, "no harm" if not harm.total else str(harm)
            console.print(f"{repetition + 1:3d}  {fault:<20} {done[0]} launches, {done[1]}", soft_wrap=True)
    names = [field.name for field in fields(Harm)]
    table = Table("fault", "injected", *names, box=None)
    everything = [harm for found in harms.values() for harm in found]
    for fault, found in (*harms.items(), ("all", everything)):
        table.add_row(fault, f"{len(found)}", *(f"{sum(getattr(harm, name) for harm in found)}" for name in names))
    console.print(table)
    if any(harm.total for harm in everything):
        raise SystemExit(1)


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(main)
    exits_on_user_error(command)()
