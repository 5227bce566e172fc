"""Sweeps with the stand-in trial, in this process or one of their own, and what they leave behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
from in_process_pool import open_fewest_processes
from mlflow import MlflowClient
from optuna.trial import TrialState
from rich.console import Console
from standin_trial import open_evaluator

from reports.content import content, intervals
from reports.record import StudyRecord, Trial
from sweeps.config.schema import SweepConfig
from sweeps.sweep import run_sweep
from sweeps.workers.start import OpenWorkers
from tests.pdf_text import page_texts
from tests.waiting import wait_until

SCRIPT = Path(__file__).parent / "sweep_script.py"
CONFIG = """
study: stand-in
seed: 3
data: {name: streets}
space:
  sparsity: [0.0, 0.25, 0.5]
  weight_bits: [4, 8, 32]
  activation_bits: [8, 32]
  tile_count: [1, 2, 4]
search: {trials: 8, sampler: random}
screening: {enabled: false}
report: {overlays: 1, documents: false}
"""
EHVI = "search.sampler=ehvi"
"""For the tests of what a search knows: this sampler loads scikit-learn, which takes a second in each process."""
DOCUMENTS = "report.documents=true"
"""For the tests that read them: writing them takes as long as the rest of such a sweep."""
Config = Callable[..., SweepConfig]
"""`config("search.trials=4")`, the fixture."""


def sweep(
    config: SweepConfig,
    resume: bool = False,
    console: Console | None = None,
    accept_changes: bool = False,
    open_workers: OpenWorkers = open_fewest_processes,
) -> StudyRecord:
    """A sweep with the stand-in trial.

    Args:
        open_workers: the default starts processes only where there are several workers, or PETITLAB_TEST_FAULT is set;
            `open_in_process` starts none. What is asked, told and found depends on the number of workers alone.
    """
    record = run_sweep(
        config,
        resume,
        console or Console(quiet=True),
        open_evaluator,
        accept_changes=accept_changes,
        open_workers=open_workers,
    )
    assert record is not None
    return record


def noted(folder: Path) -> list[str]:
    return (folder / "evaluated.txt").read_text().splitlines()


def evaluated(folder: Path) -> list[str]:
    return [line for line in noted(folder) if line != "prepared"]


def mlflow_runs(study: str = "stand-in") -> list:
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    return client.search_runs([client.get_experiment_by_name(study).experiment_id], max_results=1000)


def children(runs: list) -> list:
    return [run for run in runs if "mlflow.parentRunId" in run.data.tags]


def assert_nothing_is_running(config: SweepConfig) -> None:
    storage = f"sqlite:///{config.folder / 'study.db'}"
    trials = optuna.load_study(study_name=config.study, storage=storage).trials
    assert all(trial.state != TrialState.RUNNING for trial in trials)
    assert all(run.info.status != "RUNNING" for run in mlflow_runs())


def start(tmp_path: Path, *arguments: str, **options: bool) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "config.yaml"), *arguments]
    return subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


def wait_for_trials(folder: Path, count: int, timeout_s: float = 150) -> None:
    journal = folder / "trials.jsonl"
    wait_until(
        lambda: journal.exists() and journal.read_bytes().count(b"\n") >= count,
        timeout_s,
        f"the journal holds {count} trials",
    )


def pdf_text(folder: Path) -> str:
    return " ".join(" ".join(page_texts(folder / "report.pdf")).split())


def report_text(record: StudyRecord) -> str:
    """What the report says in words, as JSON. The tests of the reports show that it is typeset."""
    return json.dumps(content(record, intervals(record), {}), ensure_ascii=False)


def essence(trial: Trial) -> Trial:
    """A trial without what the clock says of it."""
    return replace(trial, seconds=0.0, finished_s=None)
