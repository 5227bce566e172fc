"""The folder of a study: the content of `study.json`, and checks of the folder."""

from __future__ import annotations

import fcntl
import json
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaluation.errors import UserError
from reports.files import existing_file, replace_file, shown
from reports.record import MeasuredOn
from sweeps.inputs import spans as input_spans

STUDY_FILE = "study.json"
LOCK_FILE = ".lock"
LOG_FILE = "workers.log"
SHOWN = 6
"""Most differing keys in a message."""


@dataclass
class StudyFolder:
    """An opened study; `seconds` adds up over all processes."""

    path: Path
    study_id: str
    started: str
    seconds: float
    identity: Mapping[str, Any]
    launch: Mapping[str, Any]
    """Budget, workers, process id and machine of the latest process."""
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    """Every change of configuration or inputs that the user accepted, as in `StudyRecord.changes`."""
    inputs: list[Mapping[str, Any]] = field(default_factory=list)
    """Inputs of the trials in order of time: {"at", "digests" (see `fingerprints.Inputs`), "trials"}. The last one has
    no "trials", and holds for all others. Trials of a version that stored no digests have none."""
    notes: list[str] = field(default_factory=list)
    """Messages for the user before the study continues."""
    _counted: float = field(default_factory=time.monotonic, repr=False)

    def elapsed_s(self) -> float:
        """Wall time of the study until now, in seconds, without the time between processes."""
        return self.seconds + time.monotonic() - self._counted

    def count_time(self) -> None:
        """Add the wall time since the last call, or since the folder was opened."""
        now = time.monotonic()
        self.seconds, self._counted = self.seconds + now - self._counted, now
        self.save()

    def stale(self, uses: Collection[str]) -> frozenset[int]:
        """Numbers of the trials that were measured with a former version of one of these inputs."""
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


def check_writable(path: Path) -> None:
    """Check that the folder of a study can be created, or written if it exists. Nothing is created.

    Raises:
        UserError: it cannot.
    """
    there = path
    while not there.exists() and not there.is_symlink() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):  # unlinked at once
            pass
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> UserError:
    return UserError(f"out: cannot write to {path} ({error.strerror}); choose another with -o out=FOLDER")


class StudyGoneError(UserError):
    """The folder of a study was removed while it ran."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: the study's folder was removed or moved while it ran, so its workers were stopped; put it back "
            "and continue with --resume, or start again"
        )


def check_folder(path: Path) -> None:
    """Raise `StudyGoneError` if the folder of an opened study no longer exists."""
    if not (path / STUDY_FILE).exists():
        raise StudyGoneError(path)


@contextmanager
def gone_explained(path: Path) -> Iterator[None]:
    """Turn any error inside into a `StudyGoneError` if the study's folder no longer exists."""
    try:
        yield
    except Exception as error:
        if isinstance(error, StudyGoneError) or (path / STUDY_FILE).exists():
            raise
        raise StudyGoneError(path) from error


def is_in_use(path: Path) -> bool:
    """Whether a process works on the study in this folder."""
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
    """Read `study.json`.

    Raises:
        UserError: the file is missing or damaged.
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
