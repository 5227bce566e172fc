"""A small study in a folder of its own, launched as often as it takes, and what became of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from reports.record import Trial

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
EVALUATIONS = "evaluations.txt"
LAUNCH_LIMIT_S = 240.0


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
    """Trials of Optuna and runs of MLflow that are still RUNNING, and workers that outlived their launch."""
    differs: int = 0
    """1 where trials or front are not those of the undisturbed study, or the report is missing."""
    launches: int = 0

    @property
    def total(self) -> int:
        return self.lost + self.rerun + self.doubled + self.running + self.differs


@dataclass
class Disturbed:
    """A study that is done harm to.

    Attributes:
        folder: where it is launched.
        name: of the study.
        overrides: `key=value`, of the configuration.
        tracking: address of the MLflow store; None is mlflow.db in the folder.
        storage: address of the database of a study that several launches share, or None.
    """

    folder: Path
    name: str = STUDY
    overrides: tuple[str, ...] = ()
    tracking: str | None = None
    storage: str | None = None
    launches: int = 0
    finished: dict[int, Trial] = field(default_factory=dict)
    """Trials that were in the journal after a launch, by number."""
    lost: int = 0
    surviving: int = 0
    """Workers that outlived their launch."""
    wrong: int = 0
    """Times that a launch did what it must refuse."""
    measured_again: set[str] = field(default_factory=set)
    """Candidates of the trials that were damaged on the disk, which are to be evaluated again."""

    def __post_init__(self) -> None:
        (self.folder / "config.yaml").write_text(json.dumps(CONFIG))

    @property
    def study(self) -> Path:
        return self.folder / "studies" / self.name

    def launch(self) -> subprocess.Popen:
        """Start, or go on with, the study."""
        resume = ["--resume"] if (self.study / "study.json").exists() else []
        settings = [f"study={self.name}", *self.overrides]
        settings += [f"storage.url={self.storage}"] if self.storage else []
        environment = {**os.environ, "PETITLAB_EVALUATIONS": EVALUATIONS}
        environment.pop("MLFLOW_TRACKING_URI", None)
        if self.tracking:
            environment["MLFLOW_TRACKING_URI"] = self.tracking
        self.launches += 1
        command = [sys.executable, "-m", "benchmarks.faults", "--launch", str(self.folder), *resume]
        # The output is written outside, where the disk has room.
        output = Path(tempfile.gettempdir()) / f"petitlab-faults-{os.getpid()}.log"
        with output.open("ab") as file:
            return subprocess.Popen(
                [*command, *(word for setting in settings for word in ("-o", setting))],
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )

    def trials(self) -> Mapping[int, Trial]:
        """The trials that have finished, by number."""
        from sweeps.storage.journal import read_journal
        from sweeps.storage.postgres_tables import read_shared_journal

        return read_shared_journal(self.storage, self.name) if self.storage else read_journal(self.study)

    def until(self, process: subprocess.Popen, finished: int) -> bool:
        """Wait until so many trials have finished; False where the launch ended before."""
        end = time.monotonic() + LAUNCH_LIMIT_S
        while process.poll() is None and time.monotonic() < end:
            if (self.study / "study.json").exists() and len(self.trials()) >= finished:
                return True
            time.sleep(0.2 if self.storage else 0.01)
        return False

    def end(self, process: subprocess.Popen) -> bool:
        """Wait for the end of a launch, and compare the journal with what it was; whether the study is complete."""
        workers = workers_of(process)
        wait(process)
        _, alive = psutil.wait_procs(workers, timeout=10)
        self.surviving += len(alive)
        trials = self.trials()
        self.lost += sum(trials.get(number) != trial for number, trial in self.finished.items())
        self.finished |= trials
        return process.returncode == 0 and sum(trial.spent for trial in trials.values()) >= TRIALS

    def forget(self) -> None:
        """The study is removed on purpose: nothing of it is expected any more."""
        self.finished.clear()

    def harm(self, undisturbed: Mapping[str, Any]) -> Harm:
        """What came of it, in comparison with the control run."""
        harm = Harm(lost=self.lost, launches=self.launches, running=self.surviving)
        journal = list(self.trials().values())
        evaluated = Counter((self.study / EVALUATIONS).read_text().splitlines())
        harm.rerun = sum(
            evaluated.get(f"{trial.name} again", 0) for trial in journal if trial.name not in self.measured_again
        )
        harm.doubled = sum(count - 1 for count in Counter(trial.name for trial in journal).values())
        harm.running += self._running_trials()
        children, running = self.runs()
        harm.running += running
        harm.doubled += sum(count - 1 for count in children.values())
        written = (self.study / "report.pdf").exists() and len(children) == len(journal)
        found = outcome(self.study)
        same = found == undisturbed
        if self.storage:  # such a launch seeds its sampler apart: what it measures is compared, not what it asks for
            expected = _measured(undisturbed)
            same = all(expected.get(name, result) == result for name, result in _measured(found).items())
        harm.differs = int(not written or not same or self.wrong > 0)
        return harm

    def _running_trials(self) -> int:
        import optuna

        storage = self.storage or f"sqlite:///{self.study / 'study.db'}"
        stored = optuna.load_study(study_name=self.name, storage=storage)
        return sum(not trial.state.is_finished() for trial in stored.get_trials(deepcopy=False))

    def runs(self) -> tuple[Counter, int]:
        """Runs of each trial of the study, and how many runs of the experiment are RUNNING."""
        from mlflow import MlflowClient

        client = MlflowClient(self.tracking or f"sqlite:///{self.folder / 'mlflow.db'}")
        experiment = client.get_experiment_by_name(self.name)
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        identity = json.loads((self.study / "study.json").read_text())["id"]
        parents = {run.info.run_id for run in runs if run.data.tags.get("petitlab.study_id") == identity}
        children = Counter(
            run.data.tags["petitlab.trial"] for run in runs if run.data.tags.get("mlflow.parentRunId") in parents
        )
        if len(parents) != 1:
            children["parent"] = len(parents)
        return children, sum(run.info.status == "RUNNING" for run in runs)


def outcome(study: Path) -> dict:
    """What of a study must not depend on how it went."""
    record = json.loads((study / "record.json").read_text())
    essence = [{name: trial[name] for name in ("number", "name", "state", "feasible", "bound", "early")} | {
        "scores": trial["measurement"] and trial["measurement"]["scores"],
        "memory": trial["measurement"] and trial["measurement"]["memory"],
    } for trial in record["trials"]]  # fmt: skip
    return {"trials": essence, "front": record["front"], "chosen": record["chosen"], "heldout": record["heldout"]}


def _measured(found: Mapping[str, Any]) -> dict[str, Any]:
    return {trial["name"]: (trial["scores"], trial["memory"]) for trial in found["trials"] if trial["scores"]}


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The worker processes of a launch that runs."""
    found = []
    try:
        for child in psutil.Process(process.pid).children():
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    except psutil.Error:
        return found
    return found


def kill(process: psutil.Process | subprocess.Popen) -> None:
    """Kill it, where it lives."""
    try:
        process.kill()
    except psutil.Error:
        return


def wait(process: subprocess.Popen) -> None:
    """Wait for the end of a launch.

    Raises:
        RuntimeError: it did not end within `LAUNCH_LIMIT_S`.
    """
    try:
        process.wait(LAUNCH_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise RuntimeError("a launch did not end") from None
