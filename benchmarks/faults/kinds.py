"""The faults that a study is put through: each a function under a name, with the servers it needs.

To add one, write a function of (study, launch, random numbers) and register it with `@fault("its name")`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.changed_inputs import MixedDataError, change_inputs, input_files
from benchmarks.faults.services import MlflowServer, PostgresServer, mlflow_server, postgres_server
from benchmarks.faults.small_study import Disturbed, kill, wait, workers_of
from sweeps.storage.journal import JOURNAL_FILE

BUSY_MS = 1500
"""How long a launch waits for a locked database here; a minute is usual."""
DISK_BYTES = 24_000_000


@dataclass
class Place:
    """Where a repetition takes place.

    Attributes:
        folder: of its own.
        mlflow, postgres: servers, where the fault needs them.
        overrides: `key=value`, of the study's configuration.
    """

    folder: Path
    mlflow: MlflowServer | None = None
    postgres: PostgresServer | None = None
    overrides: tuple[str, ...] = ()
    others: list[tuple[Disturbed, subprocess.Popen]] = field(default_factory=list)
    """Further studies that were launched, to be ended and compared like the first."""

    def study(self) -> Disturbed:
        storage = None if self.postgres is None else self.postgres.create_database(f"s{time.time_ns()}")
        tracking = self.mlflow and self.mlflow.uri
        return Disturbed(self.folder, overrides=self.overrides, tracking=tracking, storage=storage)


DoHarm = Callable[[Disturbed, subprocess.Popen, random.Random, Place], None]


class LeftOutError(Exception):
    """A fault cannot be injected on this machine."""


@contextmanager
def plain(folder: Path) -> Iterator[Place]:
    folder.mkdir()
    yield Place(folder)


@dataclass(frozen=True)
class Fault:
    """A kind of harm.

    Attributes:
        harm: does it, at a random moment of the first launch.
        place: opens the place of a repetition.
        at_once: whether the moment is the start.
    """

    harm: DoHarm
    place: Callable[[Path], AbstractContextManager[Place]] = plain
    at_once: bool = False


FAULTS: dict[str, Fault] = {}


def fault(name: str, **options: object) -> Callable[[DoHarm], DoHarm]:
    """Register a function as a fault."""

    def register(harm: DoHarm) -> DoHarm:
        FAULTS[name] = Fault(harm, **options)
        return harm

    return register


@fault("parent killed")
def kill_parent(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    process.kill()


@fault("worker killed")
def kill_worker(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    workers = workers_of(process)
    if workers:
        kill(rng.choice(workers))


@fault("both killed")
def kill_both(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    workers = workers_of(process)
    for victim in rng.sample([process, *workers[:1]], k=len(workers[:1]) + 1):
        kill(victim)


@fault("interrupted twice")
def interrupt_twice(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1 * rng.random())


@fault("terminal closed")
def close_terminal(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """SIGHUP to all of the group."""
    os.killpg(process.pid, signal.SIGHUP)


@fault("database locked")
def lock_database(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """Longer than a launch waits, or not so long."""
    with sqlite3.connect(disturbed.study / "study.db", isolation_level=None, timeout=30) as held:
        held.execute("BEGIN EXCLUSIVE")
        time.sleep(rng.choice([0.5, 3 * BUSY_MS / 1000]))
        held.execute("ROLLBACK")
    held.close()


@fault("cache corrupted")
def corrupt_cache(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """Entries that a later trial may read: one cut, one with a flipped bit, one emptied. Then the parent is killed."""
    entries = sorted((disturbed.folder / "studies" / ".cache").rglob("*.bin"))
    for entry in rng.sample(entries, k=min(3, len(entries))):
        content = bytearray(entry.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        entry.write_bytes(rng.choice([bytes(content), bytes(content[: len(content) // 2]), b""]))
    process.kill()


@fault("journal damaged")
def damage_journal(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """The parent is killed, and one bit of one line flips. That line's trial alone is to be measured again."""
    process.kill()
    wait(process)
    trials = disturbed.trials()
    if not trials:
        return
    file = disturbed.study / JOURNAL_FILE
    lines = file.read_bytes().splitlines(keepends=True)
    number = rng.randrange(len(trials))
    line = bytearray(lines[number])
    line[rng.randrange(len(line) - 1)] ^= 1 << rng.randrange(8)  # not its end: two lines would be one
    damaged = trials[json.loads(lines[number])["number"]]
    disturbed.finished = {key: trial for key, trial in trials.items() if key != damaged.number}
    disturbed.measured_again.add(damaged.name)
    lines[number] = bytes(line)
    file.write_bytes(b"".join(lines))


@contextmanager
def with_input_files(folder: Path) -> Iterator[Place]:
    """A study whose images, network and target are files of the folder."""
    folder.mkdir()
    settings = input_files(folder)
    yield Place(folder, overrides=tuple(f"{key}={json.dumps(value)}" for key, value in settings.items()))


@fault("inputs changed", place=with_input_files)
def exchange_inputs(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """The parent is killed, and one of the files is another one while the study is resumed, which must be refused."""
    process.kill()
    wait(process)

    def resume() -> int:
        resumed = disturbed.launch()
        wait(resumed)
        return resumed.returncode

    try:
        change_inputs(disturbed, resume, rng)
    except MixedDataError:
        disturbed.wrong += 1


@contextmanager
def small_disk(folder: Path) -> Iterator[Place]:
    """A folder with little room."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        raise LeftOutError("no small disk may be mounted here")
    try:
        yield Place(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@fault("disk full", place=small_disk)
def fill_disk(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
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
        wait(process)
    finally:
        filler.unlink(missing_ok=True)


@fault("folder removed")
def remove_folder(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """What was measured goes with it, as was wished; the launch must end, and a new one must not mind what is left."""
    while disturbed.study.exists():  # a file may be written while the folder is being emptied
        shutil.rmtree(disturbed.study, ignore_errors=True)
    disturbed.forget()


@fault("two studies at once", at_once=True)
def start_another(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """In a fresh folder, where both would create the database of MLflow."""
    other = Disturbed(disturbed.folder, name="another")
    place.others.append((other, other.launch()))


@contextmanager
def with_mlflow(folder: Path) -> Iterator[Place]:
    folder.mkdir()
    with mlflow_server(folder / "server") as server:
        yield Place(folder, mlflow=server)


@fault("MLflow restarted", place=with_mlflow)
def restart_mlflow(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """Killed, and started again while the study runs or after it."""
    place.mlflow.kill()
    time.sleep(2 * rng.random())
    place.mlflow.start()


@contextmanager
def with_postgres(folder: Path) -> Iterator[Place]:
    folder.mkdir()
    try:
        with postgres_server(folder / "postgres") as server:
            yield Place(folder, postgres=server)
    except ImportError:
        raise LeftOutError("pgserver is not installed") from None


@fault("PostgreSQL restarted", place=with_postgres)
def restart_postgres(disturbed: Disturbed, process: subprocess.Popen, rng: random.Random, place: Place) -> None:
    """Its connections are ended, and for a while it takes no others."""
    place.postgres.stop()
    time.sleep(3 * rng.random())
    place.postgres.start()
