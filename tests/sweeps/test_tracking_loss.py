"""MLflow that is away: at the start it is one line and nothing is made; later no study stops, and MLflow catches up."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from standin_sweeps import Config, children, evaluated, start, sweep, wait_for_trials

from benchmarks.faults.services import MlflowServer, mlflow_server
from evaluation.errors import UserError
from reports.record import State
from reports.record_file import read_record

TRIALS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def tracked(config: Config, server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Config:
    """`config`, with runs that go to the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.3")
    return config


def runs_of(server: MlflowServer, study: str) -> list:
    client = MlflowClient(server.uri)
    return client.search_runs([client.get_experiment_by_name(study).experiment_id], max_results=1000)


def check(server: MlflowServer, folder: Path, study: str) -> None:
    """Every trial once in the record and once in MLflow, and nothing RUNNING."""
    record = read_record(folder)
    assert [trial.state for trial in record.trials] == [State.COMPLETE] * TRIALS
    assert max(Counter(evaluated(folder)).values()) == 1
    runs = runs_of(server, study)
    assert sorted(run.info.run_name for run in children(runs)) == [trial.label for trial in record.trials]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == TRIALS + 1
    (parent,) = [run for run in runs if run not in children(runs)]
    client = MlflowClient(server.uri)
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"record.json"}
    assert sum(run.data.tags["chosen"] == "true" for run in children(runs)) == 1


@pytest.mark.slow
def test_a_server_that_is_killed_and_started_again_in_mid_study_is_caught_up_with(
    tracked: Config, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = f"s{tmp_path.name}"[:60]
    folder = tracked(f"study={study}").folder
    gate = tmp_path / "gate"
    monkeypatch.setenv("PETITLAB_TEST_GATE", f"7:{gate}")
    process = start(tmp_path, f"search.trials={TRIALS}", f"study={study}")
    wait_for_trials(folder, 3)
    server.kill()
    wait_for_trials(folder, 6)  # trials go on, until both workers are held up
    server.start()
    gate.touch()
    output, _ = process.communicate(timeout=170)
    assert process.returncode == 0, output
    said = output.splitlines()
    assert sum(" is lost (" in line for line in said) == 1
    assert sum("answers again: every run is written" in line for line in said) == 1
    assert "are not written" not in output
    assert "Traceback" not in output
    check(server, folder, study)


@pytest.mark.slow
def test_a_server_that_stays_away_is_caught_up_with_by_resume(
    tracked: Config, server: MlflowServer, tmp_path: Path
) -> None:
    study = f"r{tmp_path.name}"[:60]
    folder = tracked(f"study={study}").folder
    process = start(tmp_path, f"search.trials={TRIALS}", f"study={study}")
    wait_for_trials(folder, 3)
    server.kill()
    output, _ = process.communicate(timeout=170)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    last = output.splitlines()[-1]
    assert f" of {TRIALS} runs are not written (connection refused)" in last
    assert "the same command with --resume" in last
    server.start()
    record = sweep(tracked(f"study={study}", f"search.trials={TRIALS}"), resume=True)
    assert len(record.trials) == TRIALS
    check(server, folder, study)


@pytest.mark.slow
def test_a_server_that_hangs_holds_up_no_trial(
    tracked: Config, server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    study = f"h{tmp_path.name}"[:60]
    folder = tracked(f"study={study}").folder
    process = start(tmp_path, f"search.trials={TRIALS}", f"study={study}")
    wait_for_trials(folder, 3)
    server.signal(signal.SIGSTOP)
    try:
        wait_for_trials(folder, TRIALS, timeout_s=60)
        output, _ = process.communicate(timeout=170)
    finally:
        server.signal(signal.SIGCONT)
    assert process.returncode == 0, output
    assert "runs are not written (no answer in time)" in output
    sweep(tracked(f"study={study}", f"search.trials={TRIALS}"), resume=True)
    check(server, folder, study)


def test_where_the_database_is_lost_trials_go_on_too(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mlflow.db is overwritten in mid-study; moved away, the next launch writes all of it."""
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.3")
    process = start(tmp_path, "search.trials=8")
    wait_for_trials(config().folder, 2)
    for file in (tmp_path / "mlflow.db", tmp_path / "mlflow.db-wal"):  # SQLite maps the third file into memory
        file.write_bytes(b"no database" * 1000)
    output, _ = process.communicate(timeout=170)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert " runs are not written (" in output
    with pytest.raises(UserError, match=r"mlflow\.db is damaged .* move it away"):
        sweep(config("search.trials=8"), resume=True)
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    sweep(config("search.trials=8"), resume=True)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("stand-in").experiment_id])
    assert len(children(runs)) == 8
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_two_studies_started_together_in_a_fresh_folder_both_succeed(config: Config, tmp_path: Path) -> None:
    """Neither finds a database; MLflow's own creation of one is not made for two at once."""
    assert config()
    for file in tmp_path.glob("mlflow.db*"):
        file.unlink()
    names = ("one", "two")
    launches = [start(tmp_path, "search.trials=2", f"study={name}") for name in names]
    for name, launch in zip(names, launches, strict=True):
        output, _ = launch.communicate(timeout=170)
        assert launch.returncode == 0, output
        assert len(read_record(tmp_path / "studies" / name).trials) == 2
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    for name in names:
        runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
        assert [run.info.status for run in runs] == ["FINISHED"] * 3
    assert not list(tmp_path.glob("*.lock"))
