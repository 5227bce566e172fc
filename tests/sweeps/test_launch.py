"""Whole sweeps with the stand-in trial: their record, their MLflow runs, their ends by fault and by kill."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from pypdf import PdfReader
from rich.console import Console
from typer.testing import CliRunner

from evaluation.errors import UserError
from reports.record import State, StudyRecord, Trial, read_record
from sweeps.__main__ import app as commands
from sweeps.config import SweepConfig
from sweeps.launch import app
from sweeps.space import Candidate
from sweeps.sweep import run_sweep
from sweeps.worker import open_worker

SCRIPT = Path(__file__).parent / "sweep_script.py"
Config = Callable[..., SweepConfig]


def sweep(config: SweepConfig, resume: bool = False) -> StudyRecord:
    return run_sweep(config, resume, Console(quiet=True), "standin_trial")


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


def test_a_sweep_from_config_to_report(config: Config) -> None:
    record = sweep(config())
    folder = config().folder
    assert [trial.number for trial in record.trials] == list(range(8))
    assert record.trials[0].name == "unpruned, float, 1 tile"
    assert len({trial.name for trial in record.trials}) == 8
    assert sorted(evaluated(folder)) == sorted(trial.name for trial in record.trials)
    assert set(record.heldout) == {0, *(equal[0] for equal in record.front)}
    assert record.chosen in {number for equal in record.front for number in equal}
    assert read_record(folder).to_dict() == record.to_dict()
    assert (folder / "report.pdf").read_bytes()[:5] == b"%PDF-"
    lock = hashlib.sha256((Path(__file__).parents[2] / "constraints.txt").read_bytes()).hexdigest()
    assert record.environment.lock == lock
    assert lock in pdf_text(folder).replace(" ", "")
    assert_nothing_is_running(config())


@pytest.mark.parametrize("workers", [1, 2])
def test_what_trials_share_is_prepared_once_and_before_the_first(config: Config, workers: int) -> None:
    """By one worker; with another the trials that need nothing of it begin meanwhile."""
    sweep(config(f"search.workers={workers}"))
    assert noted(config().folder).count("prepared") == 1
    assert workers > 1 or noted(config().folder)[0] == "prepared"
    assert len(evaluated(config().folder)) == len(noted(config().folder)) - 1 == 8


def test_where_no_channels_go_nothing_is_prepared(config: Config) -> None:
    for number, space in enumerate(("space.sparsity=[0.0]", "space.pruning=[magnitude]")):
        whole = config(space, "search.trials=3", f"out=whole{number}")
        sweep(whole)
        assert len(noted(whole.folder)) == len(evaluated(whole.folder)) == 3


@pytest.mark.parametrize(("workers", "threads", "more"), [(1, 6, ()), (4, 1, ()), (9, 1, ()), (2, 5, (5,))])
def test_workers_share_the_cores(
    config: Config, monkeypatch: pytest.MonkeyPatch, workers: int, threads: int, more: tuple[int, ...]
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "9")
    limits: list[tuple[int, str]] = []
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr("sweeps.worker.threadpool_limits", lambda count, user_api: limits.append((count, user_api)))
    open_worker(config(f"search.workers={workers}", *(f"search.threads={n}" for n in more)), "standin_trial")
    assert limits == [(threads, "blas")]
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == str(threads)


def test_a_preparation_that_fails_costs_no_trial(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "crash:preparation")
    assert [trial.state for trial in sweep(config()).trials] == [State.COMPLETE] * 8


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
    assert read_record(config().folder).to_dict() == record.to_dict()
    text = "".join(page.extract_text() for page in PdfReader(config().folder / "report.pdf").pages)
    assert all(trial.name in " ".join(text.split()) for trial in named)


def test_mlflow_shows_the_parent_with_its_children(config: Config) -> None:
    record = sweep(config("constraints.peak_memory_mb=0.9"))
    runs = mlflow_runs()
    (parent,) = [run for run in runs if run not in children(runs)]
    assert parent.info.run_name == "stand-in"
    assert parent.data.params["search.trials"] == "8"
    assert parent.data.metrics["front_points"] == len(record.front)
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {"report.pdf", "record.json"}
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
        assert client.list_artifacts(run.info.run_id, "plan")
        if trial.state is State.COMPLETE:
            assert run.data.metrics["miou"] == trial.measurement.scores.miou
            assert run.data.metrics["iou/road"] == trial.measurement.scores.per_class_iou[0]
            assert run.data.metrics["macs"] == trial.measurement.cost.macs


def test_what_is_over_the_memory_limit_is_planned_and_not_trained(config: Config) -> None:
    limited = config("constraints.peak_memory_mb=0.3", "search.trials=14", "search.sampler=random")
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


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_seed_gives_the_same_trials_and_front_whichever_worker_is_the_faster(
    config: Config, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_JITTER", "0.3")
    settings = (f"search.workers={workers}", "search.trials=12", "screening.enabled=true")
    one, two = (sweep(config(*settings, f"out={name}")) for name in ("a", "b"))
    assert [essence(trial) for trial in one.trials] == [essence(trial) for trial in two.trials]
    assert one.front == two.front


def essence(trial: Trial) -> dict:
    """A trial without what the clock says of it."""
    return trial.to_dict() | {"seconds": None}


def test_what_is_sure_to_be_beaten_is_not_measured_and_does_not_count(config: Config) -> None:
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
        assert scores[trial.bound.rival] >= trial.bound.miou
        assert record.trial(trial.bound.rival).memory.peak_memory_bytes <= trial.memory.peak_memory_bytes
        assert f"which trial-{trial.bound.rival:03d} reaches" in trial.reason


def test_screening_leaves_the_front_of_the_whole_space_as_it_is(config: Config) -> None:
    bound = ("screening.enabled=true", "screening.audit=0.0", "screening.margin=0.001")
    fronts = []
    for name, settings in (("all", ()), ("screened", bound)):
        record = sweep(config(*settings, "search.trials=60", f"out={name}"))
        assert len(record.trials) == record.space_size
        points = [record.trial(equal[0]) for equal in record.front]
        fronts.append([(p.measurement.scores.miou, p.memory.peak_memory_bytes) for p in points])
        spent = sum(trial.spent for trial in record.trials)
        assert len(evaluated(config(f"out={name}").folder)) == spent
        assert (spent < record.space_size) == bool(settings)
    assert fronts[0] == fronts[1]


def test_an_audit_measures_what_would_have_been_pruned(config: Config) -> None:
    audited = config("screening.enabled=true", "screening.audit=1.0", "search.trials=14")
    record = sweep(audited)
    assert all(trial.state is State.COMPLETE for trial in record.trials)
    assert any(trial.bound for trial in record.trials)
    assert [trial.params for trial in record.trials] == [
        trial.params for trial in sweep(config("search.trials=14", "out=without")).trials
    ]


def test_scoring_ends_early_where_a_cheaper_trial_is_surely_better(config: Config) -> None:
    record = sweep(config("screening.enabled=true", "screening.audit=0.0", "screening.margin=1.0", "search.trials=20"))
    early = [trial for trial in record.trials if trial.early is not None]
    assert early
    for trial in early:
        assert trial.state is State.PRUNED
        assert (trial.early.pictures, trial.early.of) == (3, 6)
        assert trial.early.upper < 0
        assert "after 3 of 6 pictures surely beaten" in trial.reason
        assert trial.spent


def test_a_third_objective_and_its_limit(config: Config) -> None:
    record = sweep(config("search.third_objective=macs", "constraints.macs=9e7", "search.trials=12"))
    for trial in record.trials[1:]:
        assert (trial.state is State.PRUNED) == (trial.macs > 9e7)
    assert any(trial.state is State.PRUNED for trial in record.trials)
    stored = optuna.load_study(study_name="stand-in", storage=f"sqlite:///{config().folder / 'study.db'}")
    assert stored.metric_names == ["miou", "peak_memory_mb", "macs"]
    assert stored.trials[0].values[2] == record.trials[0].measurement.cost.macs


def test_resume_counts_the_total_and_runs_nothing_twice(config: Config) -> None:
    sweep(config("search.trials=5"))
    with pytest.raises(UserError, match=r"exists.*--resume"):
        sweep(config("search.trials=9"))
    record = sweep(config("search.trials=9"), resume=True)
    assert len(record.trials) == 9
    assert max(Counter(evaluated(config().folder)).values()) == 1
    assert len(children(mlflow_runs())) == 9
    again = sweep(config("search.trials=9"), resume=True)
    assert len(evaluated(config().folder)) == 9
    assert again.front == record.front
    whole = sweep(config("search.trials=9", "out=whole"))
    assert [trial.params for trial in whole.trials] == [trial.params for trial in record.trials]


def test_another_configuration_is_refused_with_its_keys(config: Config) -> None:
    sweep(config("search.trials=2"))
    with pytest.raises(UserError, match=r"another configuration: finetune\.steps \(60 there, 61 here\), seed"):
        sweep(config("finetune.steps=61", "seed=4"), resume=True)


def test_a_changed_configuration_is_taken_where_the_user_says_so(config: Config) -> None:
    sweep(config("search.trials=3"))
    record = run_sweep(
        config("search.trials=6", "finetune.steps=61", "space.tile_count=[1, 2, 8]"),
        True,
        Console(quiet=True),
        "standin_trial",
        accept_changes=True,
    )
    assert sum(trial.spent for trial in record.trials) == 6
    assert max(Counter(evaluated(config().folder)).values()) == 1
    (change,) = record.changes
    assert change["trials"] == 3
    assert change["keys"] == {"finetune.steps": [60, 61], "space.tile_count": [[1, 2, 4], [1, 2, 8]]}
    assert "changed after 3 trials" in pdf_text(config().folder)
    assert read_record(config().folder).to_dict() == record.to_dict()
    with pytest.raises(UserError, match="another configuration"):
        sweep(config("search.trials=7"), resume=True)


def test_an_exhausted_space_ends_the_sweep(config: Config) -> None:
    small = config("space.sparsity=[0.0]", "space.tile_count=[1]", "search.trials=50")
    assert len(sweep(small).trials) == 3


def test_a_fault_costs_one_trial(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = sweep(config("out=sound", "search.sampler=random"))
    reasons = {1: "killed by signal 9", 3: "told to fail", 5: "not a number", 6: "longer than 4 s"}
    faults = zip(("crash", "raise", "nan", "hang"), reasons, strict=True)
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "|".join(f"{fault}:{sound.trials[n].name}" for fault, n in faults))
    record = sweep(config("search.trial_seconds=4", "search.sampler=random"))
    assert [trial.name for trial in record.trials] == [trial.name for trial in sound.trials]
    failed = {trial.number: trial.reason for trial in record.trials if trial.state is State.FAILED}
    assert failed.keys() == reasons.keys()
    for number, reason in reasons.items():
        assert reason in failed[number]
    assert "4 of 8 trials failed" in pdf_text(config().folder)
    assert_nothing_is_running(config())


@pytest.mark.parametrize("workers", [1, 3])
def test_failures_in_a_row_end_the_sweep_with_a_report(
    config: Config, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "raise:*")
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.2")
    record = sweep(config(f"search.workers={workers}", "search.trials=20"))
    assert 5 <= len(record.trials) <= 4 + 2 * workers
    assert_nothing_is_running(config())
    assert record.front == ()
    assert record.chosen is None
    assert "No network to choose" in pdf_text(config().folder)


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(tmp_path / "config.yaml"), *arguments]
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_trials(folder: Path, count: int) -> None:
    end = time.monotonic() + 60
    journal = folder / "trials.jsonl"
    while time.monotonic() < end and (not journal.exists() or journal.read_bytes().count(b"\n") < count):
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_after_a_kill_resume_loses_and_repeats_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.15")
    several = (f"search.workers={workers}", "search.trials=10")
    folder = config().folder
    first = start(tmp_path, *several)
    wait_for_trials(folder, 4)
    first.kill()
    first.communicate()
    finished = [line.split('"name":"')[1].split('"')[0] for line in (folder / "trials.jsonl").open()]
    record = sweep(config(*several), resume=True)
    assert [trial.number for trial in record.trials] == list(range(10))
    counts = Counter(evaluated(folder))
    assert all(counts[name] == 1 for name in finished)
    assert len({trial.name for trial in record.trials}) == 10
    runs = mlflow_runs()
    assert sorted(run.info.run_name for run in children(runs)) == [trial.label for trial in record.trials]
    assert_nothing_is_running(config())


def test_ctrl_c_finishes_the_running_trial_and_reports(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.3")
    process = start(tmp_path, "search.trials=20")
    wait_for_trials(config().folder, 2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "stopped by a signal; go on with --resume" in output
    record = read_record(config().folder)
    assert 2 <= len(record.trials) < 20
    assert all(trial.state is State.COMPLETE for trial in record.trials)
    assert_nothing_is_running(config())


def test_an_unwritable_output_folder_is_one_line(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"out: cannot write to .*file.*-o out=FOLDER"):
        sweep(config("out=file"))


def test_two_launches_on_one_study_are_refused(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.3")
    process = start(tmp_path)
    wait_for_trials(config().folder, 1)
    with pytest.raises(UserError, match="another launch works on this study"):
        sweep(config(), resume=True)
    process.kill()
    process.communicate()


def test_an_import_that_misses_its_figure_stops_before_the_search(config: Config) -> None:
    with pytest.raises(UserError, match=r"import_check: .* expected 0\.5 \+- 0\.005"):
        sweep(config("import_check.miou=0.5"))
    assert not (config().folder / "trials.jsonl").exists()
    assert all(run.info.status == "FAILED" for run in mlflow_runs())


def test_the_command_explains_itself() -> None:
    runner = CliRunner()
    helped = runner.invoke(app, ["--help"])
    assert helped.exit_code == 0
    assert "--dry-run" in helped.output
    keys = runner.invoke(app, ["--keys"])
    for key in ("study", "space.weight_bits", "constraints.peak_memory_mb", "data.calibration.pictures"):
        assert key in keys.output


def pdf_text(folder: Path) -> str:
    from pypdf import PdfReader

    return " ".join(" ".join(page.extract_text() for page in PdfReader(folder / "report.pdf").pages).split())


def test_status_says_how_far_a_study_is(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.3")
    folder, runner = config().folder, CliRunner()
    process = start(tmp_path, "search.trials=30")
    wait_for_trials(folder, 3)
    running = runner.invoke(commands, ["status", str(folder)]).output
    assert f"running (process {process.pid} on " in running
    assert " of 30 trials measured" in running
    process.kill()
    process.communicate()
    stopped = runner.invoke(commands, ["status", str(folder.parent)]).output
    assert "stopped; go on with" in stopped
    assert "trial-000" in stopped or "trial-001" in stopped
    done = sweep(config("search.trials=3"), resume=True)
    finished = runner.invoke(commands, ["status", str(folder)]).output
    assert ": finished" in finished
    point = done.trial(done.front[0][0])
    assert f"{point.memory.peak_memory_bytes / 1e6:.3f}" in finished
    assert isinstance(runner.invoke(commands, ["status", str(tmp_path / "x")]).exception, UserError)


def test_a_failed_trials_traceback_is_an_artifact_of_its_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "raise:*")
    sweep(config("search.failures_in_a_row=2"))
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    failed = children(mlflow_runs())
    assert len(failed) == 2
    for run in failed:
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == [f"{run.info.run_name}.txt"]


def test_a_locked_database_is_one_line_and_loses_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.sqlite.BUSY_MS", 200)
    sweep(config("search.trials=3"))
    held = sqlite3.connect(config().folder / "study.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match=r"a database cannot be used \(database is locked\).*go on with --resume"):
        sweep(config("search.trials=5"), resume=True)
    held.rollback()
    held.close()
    record = sweep(config("search.trials=5"), resume=True)
    assert len(record.trials) == 5
    assert max(Counter(evaluated(config().folder)).values()) == 1
    assert_nothing_is_running(config())
