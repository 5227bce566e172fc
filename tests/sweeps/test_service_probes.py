"""Services that cannot be used are one line each, within seconds and before anything is made."""

import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import optuna
import pytest
import requests
from mlflow import MlflowClient
from standin_sweeps import Config, sweep

from evaluation.errors import UserError
from sweeps.storage.databases import MLFLOW, OPTUNA, revisions, sqlite_problem
from sweeps.tracking import address as tracking
from sweeps.tracking.address import check_tracking, how_to_browse


@pytest.fixture
def refusal(config: Config, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """`refusal(address)`: what a study says that was to be tracked there; "" where it does not mind."""
    assert config()
    pauses: list[float] = []
    timeouts: list[float] = []
    me, sleep, send = threading.current_thread(), time.sleep, requests.Session.send

    def noted_sleep(seconds: float) -> None:
        if threading.current_thread() is me:
            pauses.append(seconds)
        sleep(seconds)

    def noted_send(self: requests.Session, request: requests.PreparedRequest, **options: object) -> requests.Response:
        timeouts.append(options["timeout"])
        return send(self, request, **options)

    monkeypatch.setattr(time, "sleep", noted_sleep)
    monkeypatch.setattr(requests.Session, "send", noted_send)

    def refused(address: str) -> str:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        pauses.clear()
        timeouts.clear()
        try:
            check_tracking()
        except UserError as error:
            message = str(error)
        else:
            return ""
        assert sum(pauses) < 30, "a probe takes seconds"
        assert timeouts in ([], [tracking.PROBE_S]), "a probe is one brief request"
        assert "S3CR3T" not in message
        assert len(message) < 400
        assert message.startswith("MLFLOW_TRACKING_URI: ")
        return message

    return refused


def changed(store: Path, place: Path, *statements: str) -> str:
    shutil.copyfile(store, place)
    with closing(sqlite3.connect(place)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return f"sqlite:///{place}"


A_RUN = "INSERT INTO runs (run_uuid, experiment_id) VALUES ('x', 0)"


def test_databases_of_other_versions_and_programs(refusal, empty_store: Path, tmp_path: Path) -> None:
    known, latest = revisions(MLFLOW)
    older = min(known - {latest})
    assert refusal(changed(empty_store, tmp_path / "same.db", A_RUN)) == ""
    assert refusal(f"sqlite:///{tmp_path / 'new.db'}") == ""
    assert not (tmp_path / "new.db").exists()
    newer = refusal(changed(empty_store, tmp_path / "newer.db", "UPDATE alembic_version SET version_num = 'ffff'"))
    assert "was written by a newer MLflow than the installed one (schema ffff)" in newer
    version = f"UPDATE alembic_version SET version_num = '{older}'"
    assert f"mlflow db upgrade sqlite:///{tmp_path}/old.db" in refusal(
        changed(empty_store, tmp_path / "old.db", A_RUN, version)
    )
    optuna.create_study(storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    assert "holds the tables of Optuna" in refusal(f"sqlite:///{tmp_path / 'optuna.db'}")
    assert "holds the tables of MLflow" in str(sqlite_problem(empty_store, OPTUNA))
    assert sqlite_problem(tmp_path / "optuna.db", OPTUNA) is None


def test_what_the_libraries_say_of_their_versions(empty_store: Path, tmp_path: Path) -> None:
    """The versions that are read from their sources are those that they write."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'o.db'}")
    assert (frozenset(storage.get_all_versions()) <= revisions(OPTUNA)[0], storage.get_head_version()) == (
        True,
        revisions(OPTUNA)[1],
    )
    with closing(sqlite3.connect(empty_store)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (revisions(MLFLOW)[1],)


@pytest.mark.parametrize("damage", ["cut", "overwritten", "a page", "the header", "text"])
def test_a_damaged_database(refusal, empty_store: Path, tmp_path: Path, damage: str) -> None:
    content, place = bytearray(empty_store.read_bytes()), tmp_path / "damaged.db"
    match damage:
        case "cut":
            content = content[: len(content) // 2]
        case "overwritten":
            content[:] = bytes(range(256)) * (len(content) // 256)
        case "a page":
            content[3 * 4096 : 6 * 4096] = b"\xa5" * (3 * 4096)
        case "the header":
            content[30:60] = b"\xff" * 30
        case "text":
            content = b"no database"
    place.write_bytes(content)
    assert "is damaged (" in refusal(f"sqlite:///{place}")
    assert place.read_bytes() == bytes(content), "it may be rescued"


def test_databases_that_cannot_be_written(
    refusal, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.storage.databases.BUSY_S", 0.2)
    assert "is a folder; name a file" in refusal(f"sqlite:///{tmp_path}")
    assert "cannot be created" in refusal("sqlite:////proc/nothing.db")
    held = sqlite3.connect(shutil.copyfile(empty_store, tmp_path / "held.db"), isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    assert "is locked by another process" in refusal(f"sqlite:///{tmp_path / 'held.db'}")
    held.close()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("file:///tmp/x", "is a folder, and MLflow writes to folders no more; write sqlite:///mlflow.db"),
        ("./mlruns", "is a folder, and MLflow writes to folders no more"),
        ("localhost:5000", "write http://localhost:5000"),
        ("mongodb://u:S3CR3T@h/d", "mongodb://u:***@h/d begins with mongodb://, which MLflow does not know"),
        ("sqlite:mlflow.db", "write sqlite:///mlflow.db"),
        ("postgresql://u:S3CR3T@127.0.0.1:9/d", "postgresql://u:***@127.0.0.1:9/d does not answer (connection to"),
        ("postgresql://u@h:port/d", "is no address of a database"),
        ("postgresql+psycopg2://u@h/d", "needs a driver that is not installed"),
        ("http://u:S3CR3T@127.0.0.1:9", "http://u:***@127.0.0.1:9 does not answer (connection refused); start it"),
        ("http://nowhere.invalid:5000", "does not answer"),
        ("http://h:99999", "Invalid url"),
    ],
)
def test_addresses_where_nothing_is(refusal, address: str, words: str) -> None:
    assert words in refusal(address)


class _Answers(BaseHTTPRequestHandler):
    status = 200

    def do_POST(self) -> None:
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"<html>something else")

    do_GET = do_POST  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_servers_that_refuse_or_are_something_else(refusal, other_server: ThreadingHTTPServer) -> None:
    address = f"http://u:S3CR3T@127.0.0.1:{other_server.server_port}"
    words = {
        200: "is no MLflow server (its answer is no JSON)", 401: "refuses the user (status 401); set MLFLOW",
        403: "refuses the user (status 403)", 404: "is no MLflow server (status 404)",
        500: "does not answer (status 500)", 503: "does not answer (status 503)",
    }  # fmt: skip
    for status, said in words.items():
        other_server.status = status
        assert said in refusal(address)


def test_a_server_that_takes_connections_and_says_nothing(refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.tracking.address.PROBE_S", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        assert "does not answer (no answer in time)" in refusal(f"http://127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize(
    "override", ["storage.url=postgresql://nobody@127.0.0.1:9/none", "storage.url=postgresql:///d?host=/no/such/folder"]
)
def test_nothing_is_made_where_the_database_of_a_shared_study_is_away(config: Config, override: str) -> None:
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(UserError, match=r"storage\.url: postgresql://.* does not answer \(.*start the server"):
        sweep(config(override))
    assert sorted(Path.cwd().rglob("*")) == before


def test_nothing_is_made_where_the_store_of_the_runs_is_away(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 does not answer"):
        sweep(config())
    assert sorted(Path.cwd().rglob("*")) == before


def test_the_last_line_of_a_study_says_how_its_runs_are_seen() -> None:
    assert how_to_browse("sqlite:///mlflow.db") == "mlflow ui   (then http://localhost:5000)"
    assert "--backend-store-uri postgresql://u:***@h/d " in how_to_browse("postgresql://u:S3CR3T@h/d")
    assert how_to_browse("https://u:S3CR3T@mlflow.example.org/team") == "https://u:***@mlflow.example.org/team"


def test_an_empty_variable_means_the_default(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "  ")
    check_tracking()
    assert MlflowClient("sqlite:///mlflow.db").search_experiments()
