"""How busy a sweep keeps the machine, by the split of workers and threads.

python -m benchmarks.search.busy pareto.yaml --split 1x2 --split 2x1

Each split runs the sweep from an empty cache. "All" is the processor time of the launch and of all that it started,
compilers and measured programs included, as the kernel accounts it. The phases are those that the launch prints, by
what the whole machine was busy with meanwhile: nothing else should run.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer

from evaluation.errors import exits_on_user_error
from reports.promises import EXCEEDS_PLAN_STATUS
from reports.record_file import read_record

PHASES = {"starting": "start", "trial-": "search", "scoring the front": "close"}
"""What a launch prints at the beginning of each phase; the first trial is printed at its end, and counts as start."""


def machine_busy() -> float:
    """Processor seconds of everything on the machine since it started, idling and waiting apart."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq


def ended_children() -> float:
    """Processor seconds of every process that this one or a descendant started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Usage:
    wall_s: float
    processor_s: float

    def __str__(self) -> str:
        if not self.wall_s:
            return "-"
        return f"{self.wall_s:.0f} s  {self.processor_s / self.wall_s / (os.cpu_count() or 1):.0%}"


def run(config: Path, workers: int, threads: int, folder: Path) -> tuple[dict[str, Usage], float]:
    """Usage of each phase and of all, and the longest trial's seconds."""
    command = [sys.executable, "-m", "sweeps.launch", str(config.resolve()), f"--workers={workers}"]
    command += ["-o", f"search.threads={threads}"]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        command, cwd=folder, env=paths, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
    )
    phase = ["starting"]

    def listen() -> None:
        for line in process.stdout:
            for words in PHASES:
                if line.startswith(words):
                    phase[0] = words

    threading.Thread(target=listen, daemon=True).start()
    spent = {words: [0.0, 0.0] for words in PHASES}
    begun = wall = time.monotonic()
    own, used = ended_children(), machine_busy()
    while process.poll() is None:
        time.sleep(1.0)
        now, total = time.monotonic(), machine_busy()
        spent[phase[0]][0] += now - wall
        spent[phase[0]][1] += total - used
        wall, used = now, total
    if process.returncode not in (0, EXCEEDS_PLAN_STATUS):
        raise SystemExit(f"the sweep ended with {process.returncode}")
    usage = {PHASES[words]: Usage(*both) for words, both in spent.items()}
    usage["all"] = Usage(wall - begun, ended_children() - own)
    (study,) = (folder / "studies").glob("[!.]*")
    return usage, max(trial.seconds for trial in read_record(study).trials)


def main(
    config: Annotated[Path, typer.Argument(help="The sweep.")],
    split: Annotated[list[str], typer.Option(help="Workers x threads of each.")] = ["1x2", "2x1"],  # noqa: B006
) -> None:
    """Print seconds, and the share of all cores that was used, of each phase and split."""
    from rich.console import Console

    console, cores = Console(highlight=False), os.cpu_count() or 1
    console.print(f"{cores} cores; seconds, and share of the cores used")
    columns = (*PHASES.values(), "all")
    console.print(f"{'workers x threads':<18}" + "".join(f"{name:>14}" for name in columns) + f"{'longest trial':>15}")
    for words in split:
        workers, _, threads = words.partition("x")
        with tempfile.TemporaryDirectory() as scratch:
            usage, longest = run(config, int(workers), int(threads), Path(scratch))
        console.print(f"{words:<18}" + "".join(f"{usage[name]!s:>14}" for name in columns) + f"{longest:>13.0f} s")


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(main)
    exits_on_user_error(command)()
