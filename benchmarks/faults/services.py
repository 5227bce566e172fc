"""Servers of this machine that can be killed and started again: MLflow's, and PostgreSQL (needs pgserver)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_LIMIT_S = 180.0


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class MlflowServer:
    """An MLflow server with its database and its artifacts in a folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self._options, self._port = folder, options, free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Returns once it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts"), *self._options]
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + START_LIMIT_S
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=5).read()
                return
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise RuntimeError(f"no MLflow server; see {self.folder / 'server.log'}") from None
                time.sleep(0.2)

    def signal(self, number: signal.Signals) -> None:
        """To the server and all that it started, e.g. SIGSTOP: connections are taken, and nothing is answered."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """At once, in the middle of whatever it does."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait(30)


@contextmanager
def mlflow_server(folder: Path, *options: str) -> Iterator[MlflowServer]:
    """A server that answers."""
    folder.mkdir(parents=True, exist_ok=True)
    server = MlflowServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class PostgresServer:
    """A PostgreSQL server with its data in a folder."""

    def __init__(self, folder: Path) -> None:
        import pgserver

        self._server = pgserver.get_server(folder, cleanup_mode="delete")

    def create_database(self, name: str) -> str:
        """The address of a new database."""
        self._server.psql(f"CREATE DATABASE {name};")
        address, _, host = self._server.get_uri(name).partition("?")
        return f"{address.replace(':@', '@')}?{host}"

    def stop(self) -> None:
        """As for a restart: open connections are ended."""
        self._control("-w", "-m", "fast", "stop")

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        from pgserver._commands import pg_ctl

        pg_ctl(list(arguments), pgdata=self._server.pgdata, user=self._server.system_user)


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """A server that answers.

    Raises:
        ImportError: pgserver is not installed.
    """
    server = PostgresServer(folder)
    try:
        yield server
    finally:
        server.close()
