"""The folder of a study: who may work in it, and whether what is there belongs to this configuration."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluation.errors import UserError
from reports.files import existing_file, replace_file, shown
from reports.record import MeasuredOn
from sweeps.config.schema import FORMER_KEYS, SweepConfig
from sweeps.inputs import spans as input_spans
from sweeps.inputs.fingerprints import Inputs, changed_inputs, read_details, write_details
from sweeps.storage.journal import read_journal
from sweeps.storage.postgres_journal import SharedJournal

STUDY_FILE = "study.json"
LOCK_FILE = ".lock"
LOG_FILE = "workers.log"
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
    """Every change of configuration or inputs that the user allowed, as in `StudyRecord.changes`."""
    inputs: list[Mapping[str, Any]] = field(default_factory=list)
    """What trials were measured on, in the order of time: {"at", "digests" (see `fingerprints.Inputs`), "trials"}. The
    last has no "trials": it is of all others. Trials of a version that kept no digests have none."""
    notes: list[str] = field(default_factory=list)
    """Lines that the user should read before the study goes on."""
    _counted: float = field(default_factory=time.monotonic, repr=False)

    def elapsed_s(self) -> float:
        """Wall time of the study until now, the time between launches left out."""
        return self.seconds + time.monotonic() - self._counted

    def count_time(self) -> None:
        """Add the wall time since this was last called, or since the folder was opened."""
        now = time.monotonic()
        self.seconds, self._counted = self.seconds + now - self._counted, now
        self.save()

    def stale(self, uses: Collection[str]) -> frozenset[int]:
        """Numbers of the trials that were measured while one of these inputs was another than it is now."""
        return input_spans.stale(self.inputs, uses)

    def measured_on(self, numbers: Collection[int]) -> tuple[MeasuredOn, ...]:
        """`inputs` with the numbers of the trials in each, for the record."""
        return input_spans.measured_on(self.inputs, numbers)

    def save(self) -> None:
        content = {
            "id": self.study_id,
            "started": self.started,
            "seconds": self.seconds,
            "launch": dict(self.launch),
            "changes": self.changes,
            "inputs": self.inputs,
            "config": dict(self.identity),
        }
        replace_file(self.path / STUDY_FILE, (json.dumps(content, indent=1) + "\n").encode())


@contextmanager
def open_folder(
    config: SweepConfig,
    resume: bool,
    accept_changes: bool = False,
    shared: SharedJournal | None = None,
    inputs: Inputs | None = None,
) -> Iterator[StudyFolder]:
    """The study's folder, created or resumed, locked against a second launch. Where an error ends the study before its
    first trial, a folder that was created here is removed.

    Args:
        resume: go on with a study that exists.
        accept_changes: also with one of another configuration or other inputs, which it then has.
        shared: of a study that several launches work on; it is joined, not resumed, and nobody is locked out.
        inputs: network, images and target as they are now; None: they are not compared.

    Raises:
        UserError: it cannot be written, is in use, belongs to another configuration, was measured on other inputs, or
            exists without `resume`.
    """
    path = config.folder
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK_FILE).open("w")
    except OSError as error:
        raise _unwritable(path, error) from None
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{path}: another launch works on this study; wait for it, or use -o study=NAME") from None
        if shared:
            yield _join(config, path, shared, inputs)
            return
        try:
            yield _open(config, path, resume, accept_changes, inputs)
        except Exception as error:
            if is_new and not read_journal(path):
                _discard(path, error)
            raise


def check_writable(path: Path) -> None:
    """Whether the folder of a study can be made, or written to where it exists. Nothing is made.

    Raises:
        UserError: it cannot.
    """
    there = path
    while not there.exists() and not there.is_symlink() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):  # its name is gone before anybody can see it
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"out: cannot write to {path} ({error.strerror}); choose another with -o out=FOLDER")


def _discard(path: Path, error: Exception) -> None:
    """Remove the folder of a study that has not begun. The workers' log is kept where the error points to it."""
    log = path / LOG_FILE
    if str(log) in str(error):
        kept = Path(tempfile.mkdtemp(prefix="petitlab-")) / LOG_FILE
        with suppress(OSError):
            shutil.copyfile(log, kept)
        error.args = tuple(str(part).replace(str(log), str(kept)) for part in error.args)
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # other studies may be there
        path.parent.rmdir()


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
    inputs: dict[str, Annotated[list[str], Field(min_length=2, max_length=2)]] = {}


class _MeasuredOn(_Known):
    at: str
    digests: dict[str, str]
    trials: list[Annotated[int, Field(ge=0, lt=2**63)]] | None = None


class _StudyFile(_Known):
    """The JSON of `study.json`."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    started: str
    seconds: Annotated[float, Field(ge=0, lt=1e12)]
    launch: _Launch
    changes: list[_Change]
    inputs: list[_MeasuredOn] = []
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
    changes: list[Mapping[str, Any]] = [change.model_dump() for change in known.changes]
    launch = known.launch.model_dump()
    inputs: list[Mapping[str, Any]] = [span.model_dump(exclude_none=True) for span in known.inputs]
    return StudyFolder(path, known.id, known.started, known.seconds, known.config, launch, changes, inputs)


def _join(config: SweepConfig, path: Path, shared: SharedJournal, inputs: Inputs | None) -> StudyFolder:
    """The folder of a study whose identity is in the database, made by whoever came first."""
    identity, launch, now = _this_launch(config)
    known = shared.once("study", {"id": uuid.uuid4().hex, "started": now, "config": identity})
    if changed := _differences(known["config"], identity):
        shown = ", ".join(f"{key} ({_short(old)} there, {_short(new)} here)" for key, (old, new) in changed.items())
        raise UserError(f"study {config.study!r} in {config.storage.url} has another configuration: {shown}")
    spans = []
    if inputs is not None:
        first = shared.once("inputs", {"at": now, "digests": dict(inputs.digests)})
        if changed := changed_inputs(first["digests"], read_details(path), inputs):
            raise UserError(
                f"study {config.study!r} in {config.storage.url} is measured on other inputs than those here: "
                f"{input_spans.listed(changed)}; give this machine the same files, or use -o study=NAME"
            )
        write_details(inputs, path)
        spans.append(first)
    # One clock for all launches: since the first began.
    since = datetime.now(UTC) - datetime.fromisoformat(known["started"])
    folder = StudyFolder(path, known["id"], known["started"], since.total_seconds(), identity, launch, inputs=spans)
    folder.save()
    return folder


def _this_launch(config: SweepConfig) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What makes the study, what this launch says of itself, and the time."""
    identity = json.loads(json.dumps(config.identity()))
    search = config.search
    launch = {"trials": search.trials, "workers": search.workers, "process": os.getpid(), "machine": platform.node()}
    launch["storage"] = config.storage.url
    return identity, launch, datetime.now(UTC).isoformat(timespec="seconds")


def _open(config: SweepConfig, path: Path, resume: bool, accept_changes: bool, inputs: Inputs | None) -> StudyFolder:
    identity, launch, now = _this_launch(config)
    if not (path / STUDY_FILE).exists():
        folder = StudyFolder(path, uuid.uuid4().hex, now, 0.0, identity, launch)
        if inputs is not None:
            input_spans.begin(folder.inputs, inputs, now, path)
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
    measured = read_journal(path)
    others = input_spans.changed(folder.inputs, inputs, path) if measured else {}
    named = input_spans.listed(others)
    if others and not accept_changes:
        raise UserError(
            f"study {config.study!r} in {path} was measured on other inputs: {named} changed since; put them back, use "
            "-o study=NAME for a new study, or --resume --accept-changes to go on with this one: what it has measured "
            "stays as it is"
        )
    if not resume:
        raise UserError(f"study {config.study!r} exists in {path}; add --resume to go on, or -o study=NAME")
    folder.launch, folder.identity = launch, identity
    program = input_spans.other_program(folder.inputs, inputs) if measured else {}
    if changed or others or program:
        ends = {
            what: [input_spans.end_of(digest) for digest in digests] for what, digests in (others | program).items()
        }
        folder.changes.append({"at": now, "trials": len(measured), "keys": changed, "inputs": ends})
    if inputs is not None:
        if measured and not folder.inputs:
            folder.notes.append(
                f"study {config.study!r} was begun by a version that did not fingerprint network and images: whether "
                "they are still those of its trials is not known; from now on they are compared"
            )
        input_spans.take(folder.inputs, inputs, now, folder.started, measured, path)
    if program:
        folder.notes.append(
            f"the {len(measured)} trials of before were measured by another version of the program or its libraries; "
            "they stay as they are, and the report says so"
        )
    if others:
        folder.notes.append(
            f"{named} changed: the {len(measured)} trials of before stay as they were measured, and the report says so"
        )
    folder.save()
    return folder


def _differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = {".".join(path): ".".join((*path[:-1], name)) for path, name in FORMER_KEYS.items()}
    there = {names.get(key, key): value for key, value in there.items()}
    keys = sorted(key for key in {*there, *here} if there.get(key) != here.get(key))
    return {key: (there.get(key), here.get(key)) for key in keys}


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
