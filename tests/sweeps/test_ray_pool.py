"""The Ray executor on two raylets of this machine, one of which is killed in mid-sweep."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import faulty_handler
import psutil
import pytest
from in_process_pool import open_in_process
from rich.console import Console
from standin_sweeps import EHVI, essence, sweep
from standin_trial import open_evaluator

from evaluation.errors import UserError
from sweeps.config.schema import SweepConfig
from sweeps.sweep import run_sweep
from sweeps.workers.ray_pool import RayPool
from sweeps.workers.worker_pool import Failure, Limits
from tests.waiting import wait_until

Config = Callable[..., SweepConfig]
RAY = Path(sys.executable).with_name("ray")


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Cluster:
    """A head with one CPU; `add_node` adds a node with another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.head = self._raylet("--head", f"--port={self.address.split(':')[1]}", "--include-dashboard=false")
        self._until_it_answers()

    def add_node(self) -> None:
        self.node = self._raylet(f"--address={self.address}")

    def _raylet(self, *arguments: str) -> subprocess.Popen:
        command = [str(RAY), "start", *arguments, "--num-cpus=1", "--block", "--disable-usage-stats"]
        command += [f"--object-store-memory={80_000_000}"]
        with (self._folder / "ray.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def _until_it_answers(self) -> None:
        host, port = self.address.split(":")

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return True
            return False

        wait_until(answers, 60, f"Ray's head answers at {self.address}")

    def kill(self, process: subprocess.Popen) -> None:
        """The node and all that it started, at once."""
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a token, as `ray get-auth-token --generate` makes it; `ray start` demands it then."""
    folder = tmp_path_factory.mktemp("home")
    write_token(folder, "a" * 40)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def write_token(home: Path, token: str) -> None:
    (home / ".ray").mkdir(exist_ok=True)
    (home / ".ray" / "auth_token").write_text(token)


@pytest.fixture
def head(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of one machine."""
    started = Cluster(tmp_path_factory.mktemp("ray"))
    try:
        yield started
    finally:
        started.kill(started.head)


@pytest.fixture
def cluster(head: Cluster) -> Iterator[Cluster]:
    """A cluster of two."""
    head.add_node()
    try:
        yield head
    finally:
        head.kill(head.node)


def answers(executor: RayPool, count: int) -> dict:
    found = {}

    def all_are_there() -> bool:
        found.update({answer.key: answer.value for answer in executor.poll(0.2)})
        return len(found) >= count

    wait_until(all_are_there, 60, f"{count} requests are answered")
    return found


def test_actors_answer_stay_warm_and_are_replaced(head: Cluster, tmp_path: Path) -> None:
    limits = Limits(3, requests_each=6, retries=1)
    with RayPool(faulty_handler.open_handler, 1, tmp_path / "log", limits, address=head.address) as executor:
        for key, request in enumerate([1, 2, "raise", "crash", "count", "hang", 4]):
            executor.submit(key, request)
        found = answers(executor, 7)
        assert (found[0], found[1], found[6]) == (2, 4, 8)
        assert found[2].reason == "ValueError: no"
        assert "second line" in found[2].traceback
        assert found[3].reason.startswith("its worker ended (")
        assert found[4] == 1, "the worker after a crash is a fresh one"
        assert found[5] == Failure("took longer than 3 s")
        executor.submit("user", "user")
        with pytest.raises(UserError, match="the user's file"):
            answers(executor, 1)


def test_a_sweep_survives_the_loss_of_a_node_and_equals_the_local_one(
    cluster: Cluster, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials and front are the same, whichever machine measured what, and what the dead node had begun is measured."""
    many = ("search.workers=2", "search.trials=16", "screening.enabled=true", EHVI)
    local = sweep(config(*many, "study=local"), open_workers=open_in_process)
    monkeypatch.setenv("PETITLAB_TEST_SECONDS", "0.4")
    ray = config(*many, "executor.kind=ray", f"executor.address={cluster.address}", "study=ray")
    killed = []

    class Watching(Console):
        """Kills the second node once four trials have ended."""

        def print(self, *objects: object, **options: object) -> None:
            if str(objects[0]).startswith("trial-004") and not killed:
                killed.append(cluster.node.pid)
                cluster.kill(cluster.node)

    record = run_sweep(ray, False, Watching(), open_evaluator)
    assert killed
    assert [essence(trial) for trial in record.trials] == [essence(trial) for trial in local.trials]
    assert record.front == local.front


@pytest.mark.slow
def test_a_worker_without_room_is_waited_for_while_another_works(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, clock = tmp_path / "log", SimpleNamespace(later_s=0.0)
    clock.monotonic = lambda: time.monotonic() + clock.later_s
    monkeypatch.setattr("sweeps.workers.ray_pool.time", clock)
    with RayPool(faulty_handler.open_handler, 3, log, Limits(8), address=cluster.address) as executor:
        for key, later_s in enumerate((0, 1000, 1000, 2000)):
            clock.later_s = later_s
            executor.submit(key, key)
            assert answers(executor, 1) == {key: 2 * key}
    clock.later_s = 0.0
    monkeypatch.setattr("sweeps.workers.ray_pool.START_LIMIT_S", 8)
    with RayPool(faulty_handler.open_handler, 1, log, Limits(8), address=cluster.address, cpus=9) as executor:
        executor.submit(0, 0)
        assert executor.poll(0.2) == []
        clock.later_s = 9.0
        with pytest.raises(UserError, match="no Ray worker started within 8 s; ask for less than 1 workers of 9 CPUs"):
            answers(executor, 1)


def test_a_cluster_that_refuses_is_told_from_one_that_is_not_there(
    head: Cluster, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(address: str = head.address) -> str:
        with pytest.raises(UserError) as caught:
            RayPool(faulty_handler.open_handler, 1, tmp_path / "log", Limits(3), address=address)
        assert len(str(caught.value)) < 400
        assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"}.isdisjoint(os.environ), "the environment is as it was"
        return str(caught.value)

    write_token(home, "b" * 40)
    assert "refuses this user's token" in refused()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "demands a token, and this user has none; copy the cluster's token to ~/.ray/auth_token" in refused()
    assert "no Ray cluster at '127.0.0.1:9' (Connection refused); start one" in refused("127.0.0.1:9")
    assert "write auto, HOST:PORT" in refused("nonsense")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        monkeypatch.setattr("sweeps.workers.ray_cluster.ANSWER_S", 2.0)
        assert "does not answer as Ray does" in refused(f"127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.parametrize("with_token", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_ray_that_is_started_here_is_reached_from_this_machine_alone_and_with_a_token(
    home: Path, tmp_path: Path, with_token: bool
) -> None:
    if not with_token:
        (home / ".ray" / "auth_token").unlink()
    with RayPool(faulty_handler.open_handler, 1, tmp_path / "log", Limits(60)) as executor:
        executor.submit(0, 21)
        assert answers(executor, 1) == {0: 42}
        me = psutil.Process()
        listening = [
            connection.laddr
            for process in (me, *me.children(recursive=True))
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 4
        assert {address.ip.removeprefix("::ffff:") for address in listening} <= {"127.0.0.1", "::1"}
        (gcs,) = [process for process in me.children(recursive=True) if process.name() == "gcs_server"]
        (port,) = {c.laddr.port for c in gcs.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        code = f"from ray._raylet import GcsClient; GcsClient(address='127.0.0.1:{port}')"
        nobody = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        asked = subprocess.run(
            [sys.executable, "-c", code], env={**nobody, "HOME": str(tmp_path)}, capture_output=True, text=True
        )
        assert "InvalidAuthToken" in asked.stderr
    assert (home / ".ray" / "auth_token").exists() == with_token, "no token is left at home"


def test_without_ray_the_install_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'petitlab\[cluster\]'"):
        RayPool(faulty_handler.open_handler, 1, tmp_path / "log", Limits(3))
