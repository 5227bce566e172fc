"""Several launches on one study in PostgreSQL, which the tests start themselves: nothing lost, nothing doubled."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from rich.console import Console
from sqlalchemy import create_engine, inspect, text
from standin_sweeps import EHVI, SCRIPT, evaluated
from standin_trial import open_evaluator

from benchmarks.faults.services import PostgresServer, postgres_server
from evaluation.errors import UserError
from reports.record import State, Trial
from reports.record_file import read_record
from sweeps.config.load import load_config
from sweeps.config.schema import SweepConfig
from sweeps.config.space import BASELINE, Candidate
from sweeps.storage.coordinator import BudgetSpentError, Claim
from sweeps.storage.postgres_coordinator import PostgresCoordinator
from sweeps.storage.postgres_tables import read_shared_journal
from sweeps.sweep import run_sweep
from sweeps.trial.preflight import check_inputs
from tests.waiting import wait_until

Config = Callable[..., SweepConfig]
ONE, TWO = Candidate(tile_count=2), Candidate(tile_count=4)


pytest.importorskip("pgserver", reason="pgserver is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as started:
        yield started


@pytest.fixture
def database(server: PostgresServer) -> Callable[[], str]:
    """`database()`: the address of a new one."""
    return lambda: server.create_database(f"t{uuid.uuid4().hex}")


@pytest.fixture
def url(database: Callable[[], str]) -> str:
    return database()


def launch(url: str, owner: str, lease_s: float = 60.0, budget: int = 9) -> PostgresCoordinator:
    return PostgresCoordinator(url, "s", owner, lease_s, budget)


def claim(of: PostgresCoordinator, candidate: Candidate) -> int | None:
    """The number of a claim of a launch that does not know how far the study is."""
    return of.claim(candidate, 0)


def test_a_candidate_belongs_to_whoever_claims_it_first(url: str) -> None:
    a, b = launch(url, "a"), launch(url, "b")
    assert claim(a, BASELINE) == 0
    assert claim(b, BASELINE) is None
    assert claim(b, ONE) == 1
    assert claim(a, TWO) == 2
    assert b.asked[BASELINE] == 0
    b.claims.refresh()
    assert b.asked == {BASELINE: 0, ONE: 1, TWO: 2}
    assert b.claims.open_count == 3
    assert claim(PostgresCoordinator(url, "another study", "c", 60, 9), BASELINE) == 0


def test_no_more_is_claimed_than_the_budget_holds(url: str) -> None:
    a, b = launch(url, "a", budget=2), launch(url, "b", budget=2)
    claim(a, BASELINE)
    claim(b, ONE)
    with pytest.raises(BudgetSpentError):
        claim(a, TWO)
    b.append(Trial(1, ONE.as_params(), str(ONE), State.PRUNED, False))
    assert claim(a, TWO) == 2


def pass_time(url: str, seconds: float) -> None:
    """Leases have so much less left."""
    with create_engine(url).begin() as connection:
        connection.execute(text("UPDATE petitlab_claims SET lease_until = lease_until - :s"), {"s": seconds})


def test_a_claim_is_taken_over_once_its_lease_has_run_out_and_not_before(url: str) -> None:
    a, b = launch(url, "a", lease_s=600), launch(url, "b")
    claim(a, BASELINE)
    claim(a, ONE)
    assert b.take_over() is None
    assert b.others_at_work()
    pass_time(url, 400)
    assert b.take_over() is None
    a.claims.renew()
    pass_time(url, 400)
    assert b.take_over() is None
    assert b.others_at_work()
    pass_time(url, 400)
    assert not b.others_at_work()
    assert b.take_over() == Claim(0, BASELINE)
    assert b.take_over() == Claim(1, ONE)
    assert b.take_over() is None


def test_a_study_is_closed_once_for_the_same_trials(url: str) -> None:
    a, b = launch(url, "a"), launch(url, "b")
    assert claim(a, BASELINE) == 0
    a.append(answered(0, BASELINE))
    with a.closing() as is_ours:
        assert is_ours
        with b.closing() as is_theirs:
            assert not is_theirs
    with b.closing() as is_theirs:
        assert not is_theirs
    assert claim(b, ONE) == 1
    b.append(answered(1, ONE))
    with b.closing() as is_theirs:
        assert is_theirs
    with a.closing() as is_ours:
        assert not is_ours
    with launch(url, "c").closing() as is_ours:
        assert is_ours, "a launch that begins after the study was closed writes its report again"


def test_what_is_given_up_may_be_taken_at_once(url: str) -> None:
    a, b = launch(url, "a"), launch(url, "b")
    claim(a, ONE)
    a.give_up(0)
    assert b.take_over() == Claim(0, ONE)


def test_a_claim_whose_answer_was_lost_is_still_this_launchs(url: str) -> None:
    """The database has it, the launch never heard of it: it is neither another's nor forgotten."""
    claim(launch(url, "a"), ONE)
    assert claim(launch(url, "a"), ONE) == 0
    again = launch(url, "a")
    assert again.take_over() == Claim(0, ONE)
    assert again.take_over() is None
    assert claim(launch(url, "b"), ONE) is None
    assert launch(url, "b").take_over() is None


def test_a_trial_is_followed_up_by_one_launch_only_where_no_other_held_its_claim(url: str) -> None:
    a, b = launch(url, "a"), launch(url, "b")
    for number, candidate in enumerate((BASELINE, ONE)):
        assert claim(a, candidate) == number
    a.append(answered(0, BASELINE))
    b.claims.refresh()
    assert a.is_ours(0)
    assert not b.is_ours(0)
    pass_time(url, 100)
    assert b.take_over() == Claim(1, ONE)
    a.append(answered(1, ONE))
    b.append(answered(1, ONE))
    assert not a.is_ours(1)
    assert not b.is_ours(1)


def test_facts_are_settled_once(url: str) -> None:
    a, b = launch(url, "a"), launch(url, "b")
    assert a.once("x", {"by": "a"}) == b.once("x", {"by": "b"}) == a.once("x", {"by": "c"}) == {"by": "a"}


def test_one_launch_closes(url: str) -> None:
    a, b = launch(url, "a"), launch(url, "b")
    with a.closing() as first:
        assert first
        with b.closing() as second:
            assert not second
    claim(b, ONE)
    with a.closing() as while_b_works:
        assert not while_b_works


def answered(number: int, candidate: Candidate) -> Trial:
    return Trial(number, candidate.as_params(), str(candidate), State.PRUNED, False, reason="planned")


def damage(url: str, number: int, old: str, new: str) -> None:
    """Change what a row says, as a faulty disk would."""
    with create_engine(url).begin() as connection:
        changed = connection.execute(
            text("UPDATE petitlab_claims SET trial = replace(trial, :old, :new) WHERE number = :number"),
            {"old": old, "new": new, "number": number},
        )
        assert changed.rowcount == 1


@pytest.mark.parametrize(("old", "new"), [("planned", "plannee"), ("{", "["), ('"crc32":"', '"crc":"')])
def test_a_damaged_row_is_kept_said_and_measured_again(url: str, old: str, new: str) -> None:
    a = launch(url, "a")
    for number, candidate in enumerate((BASELINE, ONE, TWO)):
        assert claim(a, candidate) == number
        a.append(answered(number, candidate))
    damage(url, 1, old, new)
    assert read_shared_journal(url, "s").keys() == {0, 2}
    told: dict[str, list[str]] = {"a": [], "b": []}
    a.notify(told["a"].append)
    assert told["a"] == [], "reading alone changes nothing"
    b = launch(url, "b")
    b.notify(told["b"].append)
    (notice,) = told["b"]
    assert "trial 1 of 's' is damaged" in notice
    assert "measured again" in notice
    b.claims.refresh()
    assert len(told["b"]) == 1
    assert b.trials.keys() == {0, 2}
    assert b.claims.open_count == 1
    kept = re.search(r"'(damaged trial 1 \w+)'", notice)[1]
    with create_engine(url).connect() as connection:
        rows = connection.execute(text("SELECT value FROM petitlab_facts WHERE name = :name"), {"name": kept}).all()
    assert [new in row.value for row in rows] == [True]
    assert b.take_over() == Claim(1, ONE)
    b.append(answered(1, ONE))
    assert launch(url, "c").trials[1] == answered(1, ONE)


def test_status_makes_no_tables(url: str) -> None:
    assert read_shared_journal(url, "s") == {}
    with create_engine(url).connect() as connection:
        assert not inspect(connection).get_table_names()


def start(folder: Path, url: str, tracking: str, *settings: str) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(folder / "config.yaml"), f"storage.url={url}", *settings]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracking, "PETITLAB_TEST_SECONDS": "0.25"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def check(folder: Path, url: str, tracking: str, trials: int, evaluations: int) -> None:
    """Everything an undisturbed single launch would have left."""
    record = read_record(folder / "studies" / "stand-in")
    assert [trial.number for trial in record.trials] == list(range(trials))
    assert all(trial.state is State.COMPLETE for trial in record.trials)
    counts = Counter(evaluated(folder / "studies" / "stand-in"))
    assert sum(counts.values()) == evaluations
    assert set(counts) == {trial.name for trial in record.trials}
    study = optuna.load_study(study_name="stand-in", storage=url)
    assert Counter(trial.state for trial in study.trials)[TrialState.RUNNING] == 0
    asked = Counter(t.user_attrs["question"]["number"] for t in study.trials if "question" in t.user_attrs)
    assert sorted(asked) == list(range(trials))
    client = MlflowClient(tracking)
    runs = client.search_runs([client.get_experiment_by_name("stand-in").experiment_id], max_results=1000)
    parents = [run for run in runs if "petitlab.study_id" in run.data.tags]
    assert [run.info.status for run in parents] == ["FINISHED"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert sorted(run.info.run_name for run in children) == [trial.label for trial in record.trials]
    assert all(run.info.status == "FINISHED" for run in children)
    assert len(runs) == trials + 1


def test_two_launches_at_once_share_the_work(config: Config, tmp_path: Path, database: Callable[[], str]) -> None:
    """From empty databases, in which both would create the tables."""
    assert config()
    url, tracking = database(), database()
    launches = [start(tmp_path, url, tracking, EHVI, "search.trials=18") for _ in range(2)]
    outputs = [launch.communicate(timeout=170)[0] for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0], outputs
    assert sum("the last of them writes the report" in " ".join(output.split()) for output in outputs) == 1
    assert sum("Chosen: " in output for output in outputs) == 1
    check(tmp_path, url, tracking, 18, 18)
    measured = [output.count("mIoU 0.") for output in outputs]
    assert min(measured) >= 4, "one launch did all the work"


def test_what_a_killed_launch_had_begun_is_taken_up_by_the_other(config: Config, tmp_path: Path, url: str) -> None:
    assert config()
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings = ("search.trials=16", "search.workers=2", "storage.lease_seconds=5")
    first = start(tmp_path, url, tracking, *settings)
    log = tmp_path / "studies" / "stand-in" / "evaluated.txt"
    wait_until(lambda: log.exists() and len(log.read_text().splitlines()) > 4, 60, "more than 4 trials have begun")
    second = start(tmp_path, url, tracking, *settings)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    output, _ = second.communicate(timeout=170)
    assert second.returncode == 0, output
    begun_twice = len(evaluated(tmp_path / "studies" / "stand-in")) - 16
    assert 0 <= begun_twice <= 2, "more was done again than the killed launch's workers can have had in hand"
    check(tmp_path, url, tracking, 16, 16 + begun_twice)


def test_a_server_that_is_restarted_in_mid_study_is_waited_for(
    config: Config, tmp_path: Path, url: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config()
    tracking, gate = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "gate"
    monkeypatch.setenv("PETITLAB_TEST_GATE", f"4:{gate}")
    launch = start(tmp_path, url, tracking, "search.trials=10", "search.workers=2")
    said = []
    for line in launch.stdout:
        said.append(line)
        if line.startswith("trial-001"):
            server.stop()
            gate.touch()
        if "does not answer; waiting for it" in line:
            server.start()
    assert launch.wait(60) == 0, said
    assert sum(": postgresql://" in line and " answers again" in line for line in said) == 1, said
    assert not any("Traceback" in line for line in said)
    check(tmp_path, url, tracking, 10, 10)


def test_a_database_that_is_mlflows_is_refused(config: Config, url: str) -> None:
    MlflowClient(url).search_experiments()
    with pytest.raises(UserError, match=r"holds the tables of MLflow.*give Optuna a database of its own"):
        run_sweep(config(f"storage.url={url}"), False, Console(quiet=True), open_evaluator)
    assert not config().folder.exists()


def test_another_configuration_is_refused(config: Config, url: str) -> None:
    known = json.loads(json.dumps(config(f"storage.url={url}", "seed=3").identity()))
    PostgresCoordinator(url, "stand-in", "x", 60).once("study", {"id": "1", "started": "then", "config": known})
    with pytest.raises(UserError, match=r"has another configuration: seed \(3 there, 4 here\)"):
        run_sweep(config(f"storage.url={url}", "seed=4"), False, Console(quiet=True), open_evaluator)


def test_other_inputs_are_refused(config: Config, url: str) -> None:
    here = config(f"storage.url={url}")
    shared = PostgresCoordinator(url, "stand-in", "x", 60)
    inputs = check_inputs(here)
    with shared.open_folder(here, False, False, inputs) as first:
        assert first.inputs[0]["digests"] == inputs.digests
    with shared.open_folder(here, False, False, inputs) as second:
        assert second.inputs == first.inputs
    other = replace(inputs, digests=dict(inputs.digests) | {"search": "of other masks"})
    with (
        pytest.raises(UserError, match=r"is measured on other inputs than those here: search .*; give this machine"),
        shared.open_folder(here, False, False, other),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql://u@h/d", "must begin with postgresql://, found mysql://"),
        ("postgresql://u:secret@h/d", "holds a password"),
        ("nothing", "is no address of a database"),
    ],
)
def test_an_address_that_will_not_do_is_refused(config: Config, tmp_path: Path, address: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_config(tmp_path / "config.yaml", [f"storage.url={address}"])


def test_a_database_that_does_not_answer_is_one_line(config: Config) -> None:
    nowhere = config("storage.url=postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(UserError, match=r"storage\.url: postgresql://nobody@127\.0\.0\.1:9/none does not answer"):
        run_sweep(nowhere, False, Console(quiet=True), open_evaluator)
