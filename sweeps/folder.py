"""The folder of a study: who may work in it, and whether what lies there belongs to this configuration."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluation.errors import UserError
from reports.files import existing_file, replace_file, shown
from sweeps.config import SweepConfig
from sweeps.journal import read_journal
from sweeps.shared_journal import SharedJournal

STUDY_FILE = "study.json"
LOCK_FILE = ".lock"
SHOWN = 6
"""Keys that differ, in a message."""


@dataclass
class StudyFolder:
    """An opened study; `seconds` grows with every launch."""

    path: Path
    study_id: str
    started: str
    seconds: float
    identity: Mapping[str, Any]
    launch: Mapping[str, Any]
    """What the latest launch said of itself: its budget, workers, process and machine."""
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    """Every change of the configuration that the user allowed: when, after how many trials, and each key's values."""
    _counted: float = field(default_factory=time.monotonic, repr=False)

    def elapsed_s(self) -> float:
        """Wall time of the study until now, the time between launches left out."""
        return self.seconds + time.monotonic() - self._counted

    def count_time(self) -> None:
        """Add the wall time since this was last called, or since the folder was opened."""
        now = time.monotonic()
        self.seconds, self._counted = self.seconds + now - self._counted, now
        self.save()

    def save(self) -> None:
        content = {
            "id": self.study_id,
            "started": self.started,
            "seconds": self.seconds,
            "launch": dict(self.launch),
            "changes": self.changes,
            "config": dict(self.identity),
        }
        replace_file(self.path / STUDY_FILE, (json.dumps(content, indent=1) + "\n").encode())


@contextmanager
def open_folder(
    config: SweepConfig, resume: bool, accept_changes: bool = False, shared: SharedJournal | None = None
) -> Iterator[StudyFolder]:
    """The study's folder, created or resumed, locked against a second launch.

    Args:
        resume: go on with a study that exists.
        accept_changes: also with one of another configuration, which it then has.
        shared: of a study that several launches work on; it is joined, not resumed, and nobody is locked out.

    Raises:
        UserError: it cannot be written, is in use, belongs to another configuration, or exists without `resume`.
    """
    path = config.folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK_FILE).open("w")
    except OSError as error:
        raise UserError(f"out: cannot write to {path} ({error.strerror}); choose another with -o out=FOLDER") from None
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{path}: another launch works on this study; wait for it, or use -o study=NAME") from None
        yield _join(config, path, shared) if shared else _open(config, path, resume, accept_changes)


class StudyGoneError(UserError):
    """The folder of a study was removed while it ran."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: the study's folder was removed or moved while it ran, so its workers were stopped; put it back "
            "and go on with --resume, or start again"
        )


def check_folder(path: Path) -> None:
    """Raise `StudyGoneError` where an opened study is no longer there."""
    if not (path / STUDY_FILE).exists():
        raise StudyGoneError(path)


@contextmanager
def gone_explained(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside because an opened study is no longer there is a `StudyGoneError`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, StudyGoneError) or (path / STUDY_FILE).exists():
            raise
        raise StudyGoneError(path) from error


def is_in_use(path: Path) -> bool:
    """Whether a launch works on the study in this folder."""
    try:
        with (path / LOCK_FILE).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class _Known(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _Launch(_Known):
    trials: Annotated[int, Field(ge=0, lt=2**63)]
    workers: Annotated[int, Field(ge=0, lt=2**63)] = 1
    process: Annotated[int, Field(ge=0, lt=2**63)] = 0
    machine: str = ""
    storage: Annotated[str, Field(pattern="^postgres")] | None = None


class _Change(_Known):
    at: str
    trials: Annotated[int, Field(ge=0, lt=2**63)]
    keys: dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]]


class _StudyFile(_Known):
    """The JSON of `study.json`."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    started: str
    seconds: Annotated[float, Field(ge=0, lt=1e12)]
    launch: _Launch
    changes: list[_Change]
    config: dict[str, Any]


def read_folder(path: Path) -> StudyFolder:
    """What `study.json` says.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = path / STUDY_FILE
    try:
        found = existing_file(path, STUDY_FILE)
        known = None if found is None else _StudyFile.model_validate_json(found.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        where = ".".join(map(str, detail["loc"]))
        problem = f"{where}: {detail['msg'].lower()}" if where else "not JSON"
        raise UserError(
            f"{file}: damaged ({shown(problem, 120)[1:-1]}); move the folder away, or use -o study=NAME"
        ) from None
    if known is None:
        raise UserError(f"{path}: no study here ({STUDY_FILE} is missing); give a folder such as studies/streets")
    changes = [change.model_dump() for change in known.changes]
    launch = known.launch.model_dump()
    return StudyFolder(path, known.id, known.started, known.seconds, known.config, launch, changes)


def _join(config: SweepConfig, path: Path, shared: SharedJournal) -> StudyFolder:
    """The folder of a study whose identity lies in the database, made by whoever came first."""
    identity, launch, now = _this_launch(config)
    known = shared.once("study", {"id": uuid.uuid4().hex, "started": now, "config": identity})
    if changed := _differences(known["config"], identity):
        shown = ", ".join(f"{key} ({_short(old)} there, {_short(new)} here)" for key, (old, new) in changed.items())
        raise UserError(f"study {config.study!r} in {config.storage.url} has another configuration: {shown}")
    # One clock for all launches: since the first began.
    since = datetime.now(UTC) - datetime.fromisoformat(known["started"])
    folder = StudyFolder(path, known["id"], known["started"], since.total_seconds(), identity, launch)
    folder.save()
    return folder


def _this_launch(config: SweepConfig) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What makes the study, what this launch says of itself, and the time."""
    identity = json.loads(json.dumps(config.identity()))
    search = config.search
    launch = {"trials": search.trials, "workers": search.workers, "process": os.getpid(), "machine": platform.node()}
    launch["storage"] = config.storage.url
    return identity, launch, datetime.now(UTC).isoformat(timespec="seconds")


def _open(config: SweepConfig, path: Path, resume: bool, accept_changes: bool) -> StudyFolder:
    identity, launch, now = _this_launch(config)
    if not (path / STUDY_FILE).exists():
        folder = StudyFolder(path, uuid.uuid4().hex, now, 0.0, identity, launch)
        folder.save()
        return folder
    folder = read_folder(path)
    changed = _differences(folder.identity, identity)
    if changed and not accept_changes:
        shown = ", ".join(
            f"{key} ({_short(old)} there, {_short(new)} here)" for key, (old, new) in list(changed.items())[:SHOWN]
        )
        raise UserError(
            f"study {config.study!r} in {path} exists with another configuration: {shown}"
            f"{f' and {len(changed) - SHOWN} more' if len(changed) > SHOWN else ''}; use -o study=NAME for a new one, "
            f"or --resume --accept-changes to go on with this one: what it has measured stays as it is"
        )
    if not resume:
        raise UserError(f"study {config.study!r} exists in {path}; add --resume to go on, or -o study=NAME")
    folder.launch, folder.identity = launch, identity
    if changed:
        folder.changes.append({"at": now, "trials": len(read_journal(path)), "keys": changed})
    folder.save()
    return folder


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = sorted(key for key in {*there, *here} if there.get(key) != here.get(key))
    return {key: (there.get(key), here.get(key)) for key in keys}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
