"""How busy a sweep keeps the machine, by the split of workers and threads.

python -m sweeps.benchmarks.busy pareto.yaml --split 1x2 --split 2x1

Each split runs the sweep from an empty cache. The processor time of the launch and of all that it starts, compilers and
measured programs included, is read once a second, and told by the phases that the launch prints.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer

PHASES = {"starting": "start", "trial-": "search", "scoring the front": "close"}
"""What a launch prints at the beginning of each phase; the first trial is printed at its end, and counts as start."""


class Meter:
    """Processor seconds of a process and its descendants, those that have ended included."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._seen: dict[tuple[int, float], float] = {}

    def seconds(self) -> float:
        try:
            family = [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            family = []
        for process in family:
            try:
                used = process.cpu_times()
                # What short-lived children used is with their parent once they have ended.
                self._seen[process.pid, process.create_time()] = used.user + used.system + self._ended(process, used)
            except psutil.Error:
                continue
        return sum(self._seen.values())

    def _ended(self, process: psutil.Process, used: object) -> float:
        """Children that are still looked at count for themselves; only those never seen are added here."""
        known = {pid for pid, _ in self._seen}
        watched = any(child.pid in known for child in process.children())
        return 0.0 if watched else getattr(used, "children_user", 0.0) + getattr(used, "children_system", 0.0)


def run(config: Path, workers: int, threads: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Wall and processor seconds of each phase."""
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
    meter, spent = Meter(process.pid), {words: [0.0, 0.0] for words in PHASES}
    wall, used = time.monotonic(), 0.0
    while process.poll() is None:
        time.sleep(1.0)
        now, total = time.monotonic(), meter.seconds()
        spent[phase[0]][0] += now - wall
        spent[phase[0]][1] += max(0.0, total - used)
        wall, used = now, max(used, total)
    if process.returncode:
        raise SystemExit(f"the sweep ended with {process.returncode}")
    return {PHASES[words]: (seconds, processor) for words, (seconds, processor) in spent.items()}


def main(
    config: Annotated[Path, typer.Argument(help="The sweep.")],
    split: Annotated[list[str], typer.Option(help="Workers x threads of each.")] = ["1x2", "2x1"],  # noqa: B006
) -> None:
    """Print seconds, and the share of all cores that was used, of each phase and split."""
    from rich.console import Console

    console, cores = Console(highlight=False), os.cpu_count() or 1
    console.print(f"{cores} cores; seconds, and share of the cores used")
    console.print(f"{'workers x threads':<18}" + "".join(f"{name:>16}" for name in (*PHASES.values(), "all")))
    for words in split:
        workers, _, threads = words.partition("x")
        with tempfile.TemporaryDirectory() as scratch:
            found = run(config, int(workers), int(threads), Path(scratch))
        found["all"] = tuple(sum(column) for column in zip(*found.values(), strict=True))
        cells = [f"{wall:.0f} s  {used / wall / cores:.0%}" if wall else "-" for wall, used in found.values()]
        console.print(f"{words:<18}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    typer.run(main)
