"""Sweeps that are killed, starved and robbed, and then resumed: is anything lost, doubled or left running?

python -m sweeps.benchmarks.faults --repetitions 30

Each repetition starts a small study, does it harm at a random moment, resumes it until it ends, and compares it with a
study that nobody disturbed. The trials plan a real network and measure nothing else (`planned_trial`).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import psutil
import typer

from sweeps.benchmarks.isolation import made

STUDY, TRIALS, WORKERS = "faults", 20, 2
CONFIG = {
    "study": STUDY,
    "data": {"name": "streets"},
    "space": {
        "sparsity": [0.0, 0.25, 0.5],
        "weight_bits": [4, 8, 32],
        "activation_bits": [6, 8, 32],
        "tile_count": [1, 2],
    },
    "channels": {"allotment": "uniform"},
    "search": {"trials": TRIALS, "workers": WORKERS},
    "screening": {"audit": 0.3},
    "report": {"overlays": 0},
}
TRIAL_MODULE = "sweeps.benchmarks.planned_trial"
EVALUATIONS = "evaluations.txt"
LAUNCH_LIMIT_S = 180.0
BUSY_MS = 1500
"""How long a launch waits for a locked database here; a minute is usual."""
DISK_BYTES = 24_000_000
MOST_RESUMES = 6


@dataclass
class Harm:
    """What came of one repetition; all but the last must be 0."""

    lost: int = 0
    """Finished trials that are not in the record as they were when they finished."""
    rerun: int = 0
    """Finished trials that were evaluated again."""
    doubled: int = 0
    """Candidates that stand in the journal twice, and MLflow runs of one trial."""
    running: int = 0
    """Trials of Optuna and runs of MLflow that are still RUNNING."""
    differs: int = 0
    """1 where trials or front are not those of the undisturbed study, or the report is missing."""
    launches: int = 0

    @property
    def total(self) -> int:
        return self.lost + self.rerun + self.doubled + self.running + self.differs


class Disturbed:
    """A study in a folder of its own, launched as often as it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = folder / "studies" / STUDY
        (folder / "config.yaml").write_text(json.dumps(CONFIG))
        self.launches = 0

    def launch(self) -> subprocess.Popen:
        """Start, or go on with, the study."""
        resume = ["--resume"] if (self.study / "study.json").exists() else []
        self.launches += 1
        # The output lies outside, where the disk has room.
        output = Path(tempfile.gettempdir()) / f"petitlab-faults-{os.getpid()}.log"
        with output.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-m", "sweeps.benchmarks.faults", "--launch", str(self.folder), *resume],
                stdout=file,
                stderr=file,
                env={**os.environ, "PETITLAB_EVALUATIONS": EVALUATIONS},
                start_new_session=True,
            )

    def journal(self) -> list[dict]:
        """The trials that have finished."""
        file = self.study / "trials.jsonl"
        lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def until(self, process: subprocess.Popen, finished: int) -> bool:
        """Wait until so many trials have finished; False where the launch ended before."""
        end = time.monotonic() + LAUNCH_LIMIT_S
        while process.poll() is None and time.monotonic() < end:
            if len(self.journal()) >= finished:
                return True
            time.sleep(0.01)
        return False


def kill_parent(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random) -> None:
    process.kill()


def kill_worker(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random) -> None:
    workers = _workers(process)
    if workers:
        _kill(rng.choice(workers))


def kill_both(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random) -> None:
    workers = _workers(process)
    for victim in rng.sample([process, *workers[:1]], k=len(workers[:1]) + 1):
        _kill(victim)


def interrupt_twice(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random) -> None:
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1 * rng.random())


def lock_database(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random) -> None:
    """Longer than a launch waits, or not so long."""
    with sqlite3.connect(disturbed.study / "study.db", isolation_level=None, timeout=30) as held:
        held.execute("BEGIN EXCLUSIVE")
        time.sleep(rng.choice([0.5, 3 * BUSY_MS / 1000]))
        held.execute("ROLLBACK")
    held.close()


def corrupt_cache(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random) -> None:
    """Entries that a later trial may read: one cut, one with a flipped bit, one emptied. Then the parent is killed."""
    entries = sorted((disturbed.folder / "studies" / ".cache").rglob("*.bin"))
    for entry in rng.sample(entries, k=min(3, len(entries))):
        content = bytearray(entry.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        entry.write_bytes(rng.choice([bytes(content), bytes(content[: len(content) // 2]), b""]))
    process.kill()


def fill_disk(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random) -> None:
    """No byte is left until the launch has ended."""
    filler = disturbed.folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        _wait(process)
    finally:
        filler.unlink(missing_ok=True)


FAULTS: dict[str, Callable[[Disturbed, subprocess.Popen, random.Random], None]] = {
    "parent killed": kill_parent,
    "worker killed": kill_worker,
    "both killed": kill_both,
    "interrupted twice": interrupt_twice,
    "database locked": lock_database,
    "cache corrupted": corrupt_cache,
    "disk full": fill_disk,
}


def disturb(fault: str, folder: Path, rng: random.Random, undisturbed: dict) -> Harm:
    """One repetition."""
    disturbed = Disturbed(folder)
    finished: dict[int, dict] = {}
    for attempt in range(MOST_RESUMES):
        process = disturbed.launch()
        if attempt == 0 and disturbed.until(process, rng.randrange(TRIALS)):
            time.sleep(0.2 * rng.random())
            FAULTS[fault](disturbed, process, rng)
        _wait(process)
        trials = {trial["number"]: trial for trial in disturbed.journal()}
        lost = sum(trials.get(number) != trial for number, trial in finished.items())
        finished |= trials
        if lost or (process.returncode == 0 and _spent(disturbed) >= TRIALS):
            break
    return _harm(disturbed, lost, undisturbed)


def outcome(folder: Path) -> dict:
    """What of a study must not depend on how it went."""
    record = json.loads((folder / "studies" / STUDY / "record.json").read_text())
    essence = [{name: trial[name] for name in ("number", "name", "state", "feasible", "bound", "early")} | {
        "scores": trial["measurement"] and trial["measurement"]["scores"],
        "memory": trial["measurement"] and trial["measurement"]["memory"],
    } for trial in record["trials"]]  # fmt: skip
    return {"trials": essence, "front": record["front"], "chosen": record["chosen"], "heldout": record["heldout"]}


def _harm(disturbed: Disturbed, lost: int, undisturbed: dict) -> Harm:
    import optuna
    from mlflow import MlflowClient

    harm = Harm(lost=lost, launches=disturbed.launches)
    journal = disturbed.journal()
    evaluated = Counter((disturbed.study / EVALUATIONS).read_text().splitlines())
    harm.rerun = sum(evaluated.get(f"{trial['name']} again", 0) for trial in journal)
    harm.doubled = sum(count - 1 for count in Counter(trial["name"] for trial in journal).values())
    stored = optuna.load_study(study_name=STUDY, storage=f"sqlite:///{disturbed.study / 'study.db'}")
    harm.running = sum(not trial.state.is_finished() for trial in stored.get_trials(deepcopy=False))
    client = MlflowClient(f"sqlite:///{disturbed.folder / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(STUDY).experiment_id], max_results=1000)
    harm.running += sum(run.info.status == "RUNNING" for run in runs)
    children = Counter(run.data.tags["petitlab.trial"] for run in runs if "petitlab.trial" in run.data.tags)
    harm.doubled += sum(count - 1 for count in children.values())
    written = (disturbed.study / "report.pdf").exists() and len(children) == len(journal)
    harm.differs = int(not written or outcome(disturbed.folder) != undisturbed)
    return harm


def _spent(disturbed: Disturbed) -> int:
    from sweeps.journal import read_journal

    return sum(trial.spent for trial in read_journal(disturbed.study).values())


def _workers(process: subprocess.Popen) -> list[psutil.Process]:
    try:
        children = psutil.Process(process.pid).children()
    except psutil.Error:
        return []
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def _kill(process: psutil.Process | subprocess.Popen) -> None:
    try:
        process.kill()
    except psutil.Error:
        return


def _wait(process: subprocess.Popen) -> None:
    try:
        process.wait(LAUNCH_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise RuntimeError("a launch did not end") from None


def launch(folder: Path, resume: bool) -> None:
    """The sweep of a repetition, in a process of its own."""
    from rich.console import Console

    from evaluation.errors import exits_on_user_error
    from sweeps import sqlite
    from sweeps.config_file import load_config
    from sweeps.sweep import run_sweep

    sqlite.BUSY_MS = BUSY_MS
    os.chdir(folder)
    config = load_config(folder / "config.yaml")
    exits_on_user_error(run_sweep)(config, resume, Console(), TRIAL_MODULE)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A folder with little room; False where this process may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def main(
    repetitions: Annotated[int, typer.Option(help="Studies to disturb; the faults take turns.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    launch_folder: Annotated[Path | None, typer.Option("--launch", hidden=True)] = None,
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = False,
) -> None:
    """Print how often each fault was injected and what came of it; exit status 1 where anything did."""
    if launch_folder is not None:
        return launch(launch_folder, resume)
    from rich.console import Console
    from rich.table import Table

    console, rng = Console(highlight=False), random.Random(seed)
    harms: dict[str, list[Harm]] = {fault: [] for fault in FAULTS}
    with tempfile.TemporaryDirectory() as scratch:
        sound = Disturbed(made(Path(scratch) / "sound"))
        _wait(sound.launch())
        expected = outcome(sound.folder)
        for repetition in range(repetitions):
            fault = list(FAULTS)[repetition % len(FAULTS)]
            folder = Path(scratch) / f"{repetition}"
            if fault == "disk full":
                with small_disk(folder) as mounted:
                    if not mounted:
                        console.print("disk full: left out, no small disk may be mounted here")
                        continue
                    harm = disturb(fault, folder, rng, expected)
            else:
                harm = disturb(fault, made(folder), rng, expected)
            harms[fault].append(harm)
            done = harm.launches, "no harm" if not harm.total else str(harm)
            console.print(f"{repetition + 1:3d}  {fault:<18} {done[0]} launches, {done[1]}", soft_wrap=True)
    names = [field.name for field in fields(Harm)]
    table = Table("fault", "injected", *names, box=None)
    everything = [harm for found in harms.values() for harm in found]
    for fault, found in (*harms.items(), ("all", everything)):
        table.add_row(fault, f"{len(found)}", *(f"{sum(getattr(harm, name) for harm in found)}" for name in names))
    console.print(table)
    if any(harm.total for harm in everything):
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
