"""What stops a sweep, and how it goes on: faults, kills, signals, locks, changed configurations."""

import signal
import sqlite3
from collections import Counter
from pathlib import Path

import optuna
import pytest
from in_process_pool import open_in_process
from mlflow import MlflowClient
from standin_sweeps import (
    DOCUMENTS,
    EHVI,
    Config,
    assert_nothing_is_running,
    children,
    evaluated,
    mlflow_runs,
    pdf_text,
    report_text,
    start,
    sweep,
    wait_for_trials,
)
from typer.testing import CliRunner

from evaluation.errors import UserError
from reports.record import State
from reports.record_file import read_record
from sweeps.__main__ import app as commands
from sweeps.config.schema import SweepConfig


def test_a_preparation_that_fails_costs_no_trial(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "crash:preparation")
    assert [trial.state for trial in sweep(config()).trials] == [State.COMPLETE] * 8


def test_resume_counts_the_total_and_runs_nothing_twice(config: Config) -> None:
    sweep(config(EHVI, "search.trials=5"))
    with pytest.raises(UserError, match=r"exists.*--resume"):
        sweep(config(EHVI, "search.trials=9"))
    record = sweep(config(EHVI, "search.trials=9"), resume=True)
    assert len(record.trials) == 9
    assert max(Counter(evaluated(config().folder)).values()) == 1
    assert len(children(mlflow_runs())) == 9
    again = sweep(config(EHVI, "search.trials=9"), resume=True)
    assert len(evaluated(config().folder)) == 9
    assert again.front == record.front
    whole = sweep(config(EHVI, "search.trials=9", "study=whole"))
    assert [trial.params for trial in whole.trials] == [trial.params for trial in record.trials]


def test_tags_follow_the_front_when_it_moves(config: Config) -> None:
    def tagged(name: str) -> set[int]:
        return {
            int(run.data.tags["petitlab.trial"]) for run in children(mlflow_runs()) if run.data.tags[name] == "true"
        }

    fronts = []
    for trials, resume in ((4, False), (24, True)):
        record = sweep(config(f"search.trials={trials}"), resume)
        fronts.append({number for equal in record.front for number in equal})
        assert tagged("on_front") == fronts[-1]
        assert tagged("chosen") == {record.chosen}
    assert fronts[0] - fronts[1]


def test_another_configuration_is_refused_with_its_keys(config: Config) -> None:
    sweep(config("search.trials=2"))
    with pytest.raises(UserError, match=r"another configuration: finetune\.steps \(60 there, 61 here\), seed"):
        sweep(config("finetune.steps=61", "seed=4"), resume=True)


def test_a_changed_configuration_is_taken_where_the_user_says_so(config: Config) -> None:
    sweep(config("search.trials=3"))
    changed = config("search.trials=6", "finetune.steps=61", "space.tile_count=[1, 2, 8]")
    record = sweep(changed, resume=True, accept_changes=True)
    assert sum(trial.spent for trial in record.trials) == 6
    assert max(Counter(evaluated(config().folder)).values()) == 1
    (change,) = record.changes
    assert change["trials"] == 3
    assert change["keys"] == {"finetune.steps": [60, 61], "space.tile_count": [[1, 2, 4], [1, 2, 8]]}
    assert "changed after 3 trials" in report_text(record)
    assert read_record(config().folder) == record
    with pytest.raises(UserError, match="another configuration"):
        sweep(config("search.trials=7"), resume=True)


def test_a_fault_costs_one_trial(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = sweep(config("study=sound"))
    reasons = {1: "killed by signal 9", 3: "told to fail", 5: "not a number", 6: "longer than 4 s"}
    faults = zip(("crash", "raise", "nan", "hang"), reasons, strict=True)
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "|".join(f"{fault}:{sound.trials[n].name}" for fault, n in faults))
    record = sweep(config("search.trial_seconds=4"))
    assert [trial.name for trial in record.trials] == [trial.name for trial in sound.trials]
    failed = {trial.number: trial.reason for trial in record.trials if trial.state is State.FAILED}
    assert failed.keys() == reasons.keys()
    for number, reason in reasons.items():
        assert reason in failed[number]
    assert "4 of 8 trials failed" in report_text(record)
    assert_nothing_is_running(config())


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_failures_in_a_row_end_the_sweep_with_a_report(
    config: Config, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "raise:*")
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.2")
    record = sweep(config(f"search.workers={workers}", "search.trials=20", DOCUMENTS))
    assert 5 <= len(record.trials) <= 4 + 2 * workers
    assert_nothing_is_running(config())
    assert record.front == ()
    assert record.chosen is None
    assert "No network selected" in pdf_text(config().folder)


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
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
    record = sweep(config(*several), resume=True, open_workers=open_in_process)
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
    assert "stopped by a signal; continue with --resume" in output
    record = read_record(config().folder)
    assert 2 <= len(record.trials) < 20
    assert all(trial.state is State.COMPLETE for trial in record.trials)
    assert_nothing_is_running(config())


def test_an_unwritable_output_folder_is_one_line(config: Config, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"out: cannot write to .*file.*-o out=FOLDER"):
        sweep(config("out=file"))


def test_while_a_launch_runs_another_is_refused_and_status_says_how_far_it_is(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.3")
    folder, runner = config().folder, CliRunner()
    process = start(tmp_path, "search.trials=30")
    wait_for_trials(folder, 3)
    with pytest.raises(UserError, match="another process works on this study"):
        sweep(config("search.trials=30"), resume=True)
    running = runner.invoke(commands, ["status", str(folder)]).output
    assert f"running (process {process.pid} on " in running
    assert " of 30 trials measured" in running
    process.kill()
    process.communicate()
    stopped = runner.invoke(commands, ["status", str(folder.parent)]).output
    assert "stopped; continue with" in stopped
    assert "trial-000" in stopped or "trial-001" in stopped
    done = sweep(config("search.trials=3"), resume=True)
    finished = runner.invoke(commands, ["status", str(folder)]).output
    assert ": finished" in finished
    point = done.trial(done.front[0][0])
    assert f"{point.memory.peak_memory_bytes / 1e6:.3f}" in finished
    assert isinstance(runner.invoke(commands, ["status", str(tmp_path / "x")]).exception, UserError)


def test_status_of_a_study_whose_space_holds_no_more_is_finished(config: Config) -> None:
    few = ["space.sparsity=[0.0]", "space.tile_count=[1]", "search.trials=40"]
    sweep(config(*few))
    said = CliRunner().invoke(commands, ["status", str(config().folder)]).output
    assert ": finished" in said
    assert " of 40 trials measured" in said
    assert "--resume" not in said


def test_a_failed_trials_traceback_is_an_artifact_of_its_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETITLAB_TEST_FAULT", "raise:*")
    sweep(config("search.failures_in_a_row=2"))
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    failed = children(mlflow_runs())
    assert len(failed) == 2
    for run in failed:
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == [f"{run.info.run_name}.txt"]


def test_a_locked_database_is_one_line_and_loses_nothing(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.storage.sqlite.BUSY_MS", 200)
    sweep(config("search.trials=3"))
    held = sqlite3.connect(config().folder / "study.db", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match=r"a database cannot be used \(database is locked\).*continue with --resume"):
        sweep(config("search.trials=5"), resume=True)
    held.rollback()
    held.close()
    record = sweep(config("search.trials=5"), resume=True)
    assert len(record.trials) == 5
    assert max(Counter(evaluated(config().folder)).values()) == 1
    assert_nothing_is_running(config())


@pytest.mark.parametrize("sampler", ["ehvi", pytest.param("tpe", marks=pytest.mark.slow)])
def test_a_question_asked_after_a_stop_knows_what_it_would_have_known_without_one(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    """A stop tells the sampler trials that a question asked next would not know yet."""

    def known(study: SweepConfig) -> dict[int, int]:
        trials = optuna.load_study(study_name=study.study, storage=f"sqlite:///{study.folder / 'study.db'}").trials
        asked = [trial.user_attrs["question"] for trial in trials if "question" in trial.user_attrs]
        return {question["number"]: question["known"] for question in asked}

    several = ("search.workers=2", "search.trials=12", f"search.sampler={sampler}")
    whole = sweep(config(*several, "study=whole"), open_workers=open_in_process)
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.3")
    process = start(tmp_path, *several)
    wait_for_trials(config().folder, 5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert 5 <= len(read_record(config().folder).trials) < 12
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0")
    record = sweep(config(*several), resume=True, open_workers=open_in_process)
    assert known(config(*several)) == known(config(*several, "study=whole"))
    assert [trial.name for trial in record.trials] == [trial.name for trial in whole.trials]
    assert record.front == whole.front
    assert max(Counter(evaluated(config().folder)).values()) == 1
