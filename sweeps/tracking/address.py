"""The address of the MLflow store of a study, and a probe of it before the study starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

from evaluation.addresses import masked, masked_address
from evaluation.errors import UserError
from sweeps.storage.databases import MLFLOW, DatabaseProblem, server_problem, sqlite_problem

DEFAULT_URI = "sqlite:///mlflow.db"
VARIABLE = "MLFLOW_TRACKING_URI"
DATABASES = ("postgresql", "mysql", "mssql")
UNPROBED = ("databricks", "databricks-uc", "uc")
"""Services whose clients have addresses and credentials of their own; they are not probed."""
PROBE_S = 5
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""Retries and timeout of requests to a server, unless the user sets them: MLflow's 7 and 120 s take minutes."""


def tracking_uri() -> str:
    """The store of MLFLOW_TRACKING_URI, or else mlflow.db, the default of `mlflow ui` in the current folder."""
    return os.environ.get(VARIABLE, "").strip() or DEFAULT_URI


def absolute(uri: str) -> str:
    """The address with an absolute path: MLflow caches stores by address, whatever the current folder."""
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}" if uri == DEFAULT_URI else uri


def shown(uri: str) -> str:
    """The address with secrets masked."""
    return "mlflow.db" if uri == DEFAULT_URI else masked_address(uri)


def how_to_browse(uri: str) -> str:
    """The command or address that shows the runs."""
    if uri.startswith(("http://", "https://")):
        return shown(uri)
    if uri.startswith(UNPROBED):
        return shown(uri)
    store = "" if uri == DEFAULT_URI else f" --backend-store-uri {shown(uri)}"
    return f"mlflow ui{store}   (then http://localhost:5000)"


def limit_requests() -> None:
    """Set the retries and timeout of requests to those of `PATIENCE`."""
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)


def check_tracking() -> None:
    """Probe MLflow's store once.

    Raises:
        UserError: the store cannot be used; the message names its address without secrets, and the remedy.
    """
    uri = tracking_uri()
    if problem := _problem(uri):
        name = shown(uri) if uri == DEFAULT_URI else f"{VARIABLE}: {shown(uri)}"
        raise UserError(f"{name} {problem}")


def _problem(uri: str) -> DatabaseProblem | None:
    scheme, separator, rest = uri.partition(":")
    kind = scheme.lower().partition("+")[0]
    if kind == "sqlite":
        if not rest.startswith("///"):
            return DatabaseProblem(
                "is no address of a file", "write sqlite:///mlflow.db, or sqlite:////absolute/path.db"
            )
        file = rest.removeprefix("///").partition("?")[0]
        return None if file in ("", ":memory:") else sqlite_problem(Path(file), MLFLOW)
    if kind in DATABASES:
        return server_problem(uri, MLFLOW)
    if kind in ("http", "https"):
        return _http_problem(uri)
    if kind in UNPROBED or (separator and scheme in _plugins()):
        return None
    if re.match(r"^[\w.\-]+:\d+(/|$)", uri):
        return DatabaseProblem("begins with no scheme", f"write http://{uri}")
    if kind == "file" or not re.match(r"^[a-z][a-z0-9+.\-]*://", uri, re.IGNORECASE):
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
            return None
        return DatabaseProblem(
            "is a folder, and MLflow writes to folders no more",
            "write sqlite:///mlflow.db, or unset the variable, which means the same",
        )
    return DatabaseProblem(
        f"begins with {scheme}://, which MLflow does not know",
        "write sqlite:///mlflow.db, postgresql://USER@HOST/DATABASE or http://HOST:5000",
    )


def _plugins() -> set[str]:
    return {entry.name for entry in entry_points(group="mlflow.tracking_store")}


def _http_problem(uri: str) -> DatabaseProblem | None:
    correct = f"start it, correct {VARIABLE}, or unset it to write mlflow.db here"
    with single_short_request():
        # MLflow's client, for its handling of credentials and certificates.
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            MlflowClient(uri).search_experiments(max_results=1)
        except MlflowException as error:
            reason = short_reason(error)
            if re.search(r"\b(401|403)\b|UNAUTHENTICATED|PERMISSION_DENIED", reason):
                return DatabaseProblem(
                    f"refuses the user ({reason})", "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
                )
            if re.search(r"status [34]|no JSON", reason):
                return DatabaseProblem(f"is no MLflow server ({reason})", correct)
            return DatabaseProblem(f"does not answer ({reason})", correct)
        except Exception as error:  # parsers of malformed addresses raise various errors
            return DatabaseProblem(f"cannot be asked ({short_reason(error)})", correct)
    return None


@contextmanager
def single_short_request() -> Iterator[None]:
    """Inside, requests have no retries and the timeout `PROBE_S`."""
    values = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(PROBE_S)}
    former = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def short_reason(error: BaseException) -> str:
    """Why a store could not be reached, as a short text without secrets."""
    whole = " ".join(masked(str(error)).split())
    if match := re.search(r"\[Errno -?\d+\] ([\w ]+)", whole):
        return match[1].strip().lower()
    if re.search("timed out|timeout", whole, re.IGNORECASE):
        return "no answer in time"
    if match := re.search(r"Failed to resolve|Name or service not known|nodename nor servname", whole):
        return "no such host"
    if "not in a valid JSON" in whole:
        return "its answer is no JSON"
    if match := re.search(r"error code (\d{3})|too many (\d{3}) error", whole):
        return f"status {match[1] or match[2]}"
    if match := re.search(r"SSL[^:]*: (\w+)", whole):
        return f"TLS: {match[1].replace('_', ' ').lower()}"
    if match := re.search(r"\((?:[\w.]+\.)?(?:Operational|Database|Interface|Internal)Error\) (.{1,100})", whole):
        return match[1].split(" [SQL")[0].strip()
    return whole[:140] or type(error).__name__
