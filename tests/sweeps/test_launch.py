"""Whole sweeps with the stand-in trial: their record, their MLflow runs, their front and their reports."""

import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from in_process_pool import open_in_process
from mlflow import MlflowClient
from rich.console import Console
from standin_sweeps import (
    DOCUMENTS,
    EHVI,
    Config,
    assert_nothing_is_running,
    children,
    essence,
    evaluated,
    mlflow_runs,
    noted,
    pdf_text,
    report_text,
    sweep,
)
from standin_trial import open_evaluator
from typer.testing import CliRunner

from evaluation.errors import UserError
from reports import format as fmt
from reports.record import State
from reports.record_file import read_record
from sweeps.config.space import Candidate
from sweeps.launch import app
from sweeps.trial.worker import open_worker


def test_a_sweep_from_config_to_report(config: Config) -> None:
    record = sweep(config(DOCUMENTS, EHVI))
    folder = config().folder
    assert [trial.number for trial in record.trials] == list(range(8))
    assert record.trials[0].name == "unpruned, float, 1 tile"
    assert len({trial.name for trial in record.trials}) == 8
    assert sorted(evaluated(folder)) == sorted(trial.name for trial in record.trials)
    assert set(record.heldout) == {0, *(equal[0] for equal in record.front)}
    assert record.chosen in {number for equal in record.front for number in equal}
    assert read_record(folder) == record
    assert (folder / "report.pdf").read_bytes()[:5] == b"%PDF-"
    lock = hashlib.sha256((Path(__file__).parents[2] / "constraints.txt").read_bytes()).hexdigest()
    assert record.environment.lock == lock
    assert lock in pdf_text(folder).replace(" ", "")
    assert_nothing_is_running(config())


def test_the_time_a_study_took_counts_what_follows_the_search(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a trial is begun the clock is 10,000 s on, and another 100,000 s once one is on held-out images."""
    folder = config().folder

    def clock() -> float:
        passed = 10_000 * (folder / "evaluated.txt").exists() + 100_000 * (folder / "heldout.txt").exists()
        return time.monotonic() + passed

    monkeypatch.setattr("sweeps.storage.study_folder.time", SimpleNamespace(monotonic=clock))
    record = sweep(config("search.trials=1"))
    assert 110_000 < record.environment.seconds < 111_000
    assert json.loads((folder / "study.json").read_text())["seconds"] == pytest.approx(
        record.environment.seconds, abs=0.1
    )


def test_workers_are_started_before_what_is_long_to_load() -> None:
    """Optuna and MLflow take seconds, in which the workers load TensorFlow."""
    heavy = {"mlflow", "optuna", "matplotlib", "tensorflow"}
    code = f"import sys, sweeps.launch, sweeps.sweep; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_what_trials_share_is_prepared_once_and_before_the_first(config: Config, workers: int) -> None:
    """By one worker; with another the trials that need nothing of it begin meanwhile."""
    sweep(config(f"search.workers={workers}"))
    assert noted(config().folder).count("prepared") == 1
    assert workers > 1 or noted(config().folder)[0] == "prepared"
    assert len(evaluated(config().folder)) == len(noted(config().folder)) - 1 == 8


def test_where_no_channels_go_nothing_is_prepared(config: Config) -> None:
    for number, space in enumerate(("space.sparsity=[0.0]", "space.pruning=[magnitude]")):
        whole = config(space, "search.trials=3", f"study=whole{number}")
        sweep(whole)
        assert len(noted(whole.folder)) == len(evaluated(whole.folder)) == 3


@pytest.mark.parametrize(("workers", "threads", "more"), [(1, 6, ()), (4, 1, ()), (9, 1, ()), (2, 5, (5,))])
def test_workers_share_the_cores(
    config: Config, monkeypatch: pytest.MonkeyPatch, workers: int, threads: int, more: tuple[int, ...]
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "9")
    limits: list[tuple[int, str]] = []
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr(
        "sweeps.trial.worker.threadpool_limits", lambda count, user_api: limits.append((count, user_api))
    )
    open_worker(config(f"search.workers={workers}", *(f"search.threads={n}" for n in more)), open_evaluator)
    assert limits == [(threads, "blas")]
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == str(threads)


def test_bits_by_stage_go_through_a_sweep_its_mlflow_runs_and_its_resumption(config: Config) -> None:
    staged = ("space.aspp_weight_bits=[4, 8]", "space.decoder_activation_bits=[4, 8]", "search.sampler=random")
    sweep(config(*staged, "search.trials=6"))
    with pytest.raises(UserError, match=r"space\.aspp_weight_bits \(\[4, 8\] there, \[4, 6\] here\)"):
        sweep(config(*staged[1:], "space.aspp_weight_bits=[4, 6]", "search.trials=9"), resume=True)
    with pytest.raises(UserError, match=r"space\.aspp_weight_bits \(\[4, 8\] there, null here\)"):
        sweep(config(*staged[1:], "search.trials=9"), resume=True)
    record = sweep(config(*staged, "search.trials=14"), resume=True)
    candidates = [Candidate.from_params(trial.params) for trial in record.trials]
    assert len(set(candidates)) == 14
    assert all(candidate == candidate.canonical for candidate in candidates)
    assert max(Counter(evaluated(config().folder)).values()) == 1
    assert record.space_size == 3 * 3 * (2 * 2 * 2 + 1)
    named = [trial for trial in record.trials if {"aspp_weight_bits", "decoder_activation_bits"} <= set(trial.params)]
    assert named
    assert all(", ASPP w" in trial.name and ", decoder a4," in trial.name for trial in named)
    by_name = {run.info.run_name: run.data for run in children(mlflow_runs())}
    for trial in record.trials:
        assert by_name[trial.label].params == {name: str(value) for name, value in trial.params.items()}
        assert by_name[trial.label].tags["candidate"] == trial.name
    assert read_record(config().folder) == record
    text = report_text(record)
    assert all(trial.name in text for trial in named)


def test_mlflow_shows_the_parent_with_its_children(config: Config) -> None:
    record = sweep(config("constraints.peak_memory_mb=0.9", DOCUMENTS))
    runs = mlflow_runs()
    (parent,) = [run for run in runs if run not in children(runs)]
    assert parent.info.run_name == "stand-in"
    assert parent.data.params["search.trials"] == "8"
    assert parent.data.metrics["front_points"] == len(record.front)
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "front.html",
        "record.json",
        "report.pdf",
    }
    by_name = {run.info.run_name: run for run in children(runs)}
    assert sorted(by_name) == [trial.label for trial in record.trials]
    on_front = {number for equal in record.front for number in equal}
    for trial in record.trials:
        run = by_name[trial.label]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params == {name: str(value) for name, value in trial.params.items()}
        assert run.data.tags["state"] == trial.state
        assert run.data.tags["on_front"] == str(trial.number in on_front).lower()
        assert run.data.tags["feasible"] == str(trial.feasible).lower()
        assert run.data.metrics["peak_memory_bytes"] == trial.memory.peak_memory_bytes
        plans = {file.path for file in client.list_artifacts(run.info.run_id, "plan")}
        assert plans == {f"plan/{trial.label}.json", f"plan/{trial.label}.svg"}
        if trial.state is State.COMPLETE:
            assert run.data.metrics["miou"] == trial.measurement.scores.miou
            assert run.data.metrics["iou/road"] == trial.measurement.scores.per_class_iou[0]
            assert run.data.metrics["macs"] == trial.measurement.cost.macs
    note = parent.data.tags["mlflow.note.content"]
    assert f"**Chosen: [{record.choice.label}](#/experiments/{parent.info.experiment_id}/runs/" in note
    rows = [line.strip("| ").split(" | ") for line in note.splitlines() if line.startswith("| [trial-")]
    assert len(rows) == len(record.front)
    for (link, *cells), equal in zip(rows, record.front, strict=True):
        trial, held_out = record.trial(equal[0]), record.heldout[equal[0]]
        run = by_name[trial.label]
        assert link == f"[{trial.label}](#/experiments/{parent.info.experiment_id}/runs/{run.info.run_id})"
        share = run.data.metrics["on_front_share"]
        assert run.data.metrics["heldout_miou"] == held_out.miou
        assert cells == [
            trial.name, fmt.megabytes(trial.memory.peak_memory_bytes), "within plan",
            fmt.miou(trial.measurement.scores.miou), f"{fmt.share(share)}\u2020", fmt.miou(held_out.miou),
        ]  # fmt: skip


def test_what_is_over_the_memory_limit_is_planned_and_not_trained(config: Config) -> None:
    limited = config("constraints.peak_memory_mb=0.3", "search.trials=14")
    record = sweep(limited)
    pruned = [trial for trial in record.trials if trial.state is State.PRUNED]
    assert pruned
    for trial in pruned:
        assert trial.planned.peak_memory_bytes > 300_000
        assert "over the limit of 0.3" in trial.reason
        assert trial.name not in evaluated(limited.folder)
    baseline = record.trials[0]
    assert baseline.state is State.COMPLETE
    assert not baseline.feasible
    assert 0 not in {number for equal in record.front for number in equal}


def test_a_lost_accuracy_over_the_limit_is_infeasible(config: Config) -> None:
    record = sweep(config("constraints.miou_drop=0.05", "search.trials=12"))
    baseline = record.trials[0].measurement.scores.miou
    for trial in record.trials:
        assert trial.feasible == (baseline - trial.measurement.scores.miou <= 0.05)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_the_same_seed_gives_the_same_trials_and_front_whichever_worker_is_the_faster(
    config: Config, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_JITTER", "0.3")
    settings = (f"search.workers={workers}", "search.trials=12", "screening.enabled=true", EHVI)
    one = sweep(config(*settings, "study=a"))
    two = sweep(config(*settings, "study=b"), open_workers=open_in_process)
    assert [essence(trial) for trial in one.trials] == [essence(trial) for trial in two.trials]
    assert one.front == two.front


def test_what_is_dominated_is_not_measured_and_does_not_count(config: Config) -> None:
    screened = config("screening.enabled=true", "screening.audit=0.0", "search.trials=10", "screening.margin=0.001")
    record = sweep(screened)
    assert sum(trial.spent for trial in record.trials) == 10
    pruned = [trial for trial in record.trials if trial.bound is not None]
    assert pruned
    scores = {trial.number: trial.measurement.scores.miou for trial in record.trials if trial.measurement}
    for trial in pruned:
        assert trial.state is State.PRUNED
        assert trial.name not in evaluated(screened.folder)
        assert trial.bound.source < trial.number
        assert scores[trial.bound.dominating] >= trial.bound.miou
        assert record.trial(trial.bound.dominating).memory.peak_memory_bytes <= trial.memory.peak_memory_bytes
        assert f"which trial-{trial.bound.dominating:03d} reaches" in trial.reason


def test_screening_leaves_the_front_of_the_whole_space_as_it_is(config: Config) -> None:
    bound = ("screening.enabled=true", "screening.audit=0.0", "screening.margin=0.001")
    fronts = []
    for name, settings in (("all", ()), ("screened", bound)):
        record = sweep(config(*settings, "search.trials=60", f"study={name}"))
        assert len(record.trials) == record.space_size
        points = [record.trial(equal[0]) for equal in record.front]
        fronts.append([(p.measurement.scores.miou, p.memory.peak_memory_bytes) for p in points])
        spent = sum(trial.spent for trial in record.trials)
        assert len(evaluated(config(f"study={name}").folder)) == spent
        assert (spent < record.space_size) == bool(settings)
    assert fronts[0] == fronts[1]


def test_an_audit_measures_what_would_have_been_pruned(config: Config) -> None:
    audited = config("screening.enabled=true", "screening.audit=1.0", "search.trials=14")
    record = sweep(audited)
    assert all(trial.state is State.COMPLETE for trial in record.trials)
    assert any(trial.bound for trial in record.trials)
    assert [trial.params for trial in record.trials] == [
        trial.params for trial in sweep(config("search.trials=14", "study=without")).trials
    ]


def test_scoring_ends_early_where_a_cheaper_trial_is_surely_better(config: Config) -> None:
    record = sweep(config("screening.enabled=true", "screening.audit=0.0", "screening.margin=1.0", "search.trials=20"))
    early = [trial for trial in record.trials if trial.early is not None]
    assert early
    for trial in early:
        assert trial.state is State.PRUNED
        assert (trial.early.images, trial.early.of) == (3, 6)
        assert trial.early.upper < 0
        assert "after 3 of 6 images dominated" in trial.reason
        assert trial.spent


def test_a_third_objective_and_its_limit(config: Config) -> None:
    record = sweep(config("search.third_objective=macs", "constraints.macs=9e7", "search.trials=12"))
    for trial in record.trials[1:]:
        assert (trial.state is State.PRUNED) == (trial.macs > 9e7)
    assert any(trial.state is State.PRUNED for trial in record.trials)
    stored = optuna.load_study(study_name="stand-in", storage=f"sqlite:///{config().folder / 'study.db'}")
    assert stored.metric_names == ["miou", "peak_memory_mb", "macs"]
    assert stored.trials[0].values[2] == record.trials[0].measurement.cost.macs


def test_an_exhausted_space_ends_the_sweep(config: Config) -> None:
    small = config("space.sparsity=[0.0]", "space.tile_count=[1]", "search.trials=50")
    assert len(sweep(small).trials) == 3


@pytest.mark.parametrize(
    ("override", "fault", "said"),
    [
        ("import_check={miou: 0.5, split: val}", "", r"import_check: .* expected 0\.5 \+- 0\.005"),
        (
            "seed=3",
            "crash:description",
            r"could not open the network and the images \(its worker ended .*see /.*\.log$",
        ),
    ],
)
def test_what_fails_before_the_first_trial_leaves_no_study(
    config: Config, monkeypatch: pytest.MonkeyPatch, override: str, fault: str, said: str
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", fault)
    with pytest.raises(UserError, match=said) as ended:
        sweep(config(override))
    assert "\n" not in str(ended.value)
    if fault:
        assert Path(str(ended.value).rpartition("see ")[2]).is_file(), "the log that it names is kept"
    assert not config().folder.exists()
    assert MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}").get_experiment_by_name("stand-in") is None


def test_the_command_explains_itself() -> None:
    runner = CliRunner()
    helped = runner.invoke(app, ["--help"])
    assert helped.exit_code == 0
    assert "--dry-run" in helped.output
    keys = runner.invoke(app, ["--keys"])
    for key in ("study", "space.weight_bits", "constraints.peak_memory_mb", "data.calibration.images"):
        assert key in keys.output


def test_without_documents_none_is_written_and_none_that_is_out_of_date_stays(config: Config) -> None:
    console = Console(file=io.StringIO(), width=200)
    folder = config().folder
    sweep(config(DOCUMENTS, "search.trials=2"))
    assert {"front.html", "report.pdf"} <= {path.name for path in folder.iterdir()}
    sweep(config("search.trials=3"), True, console)
    assert not {"front.html", "report.pdf"} & {path.name for path in folder.iterdir()}
    assert "Report: none (report.documents); petitlab report studies/stand-in" in console.file.getvalue()
    (parent,) = [run for run in mlflow_runs() if "mlflow.parentRunId" not in run.data.tags]
    assert "`record.json` is among the artifacts" in parent.data.tags["mlflow.note.content"]
