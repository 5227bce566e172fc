"""The folder of a study: who may work in it, and whether what lies there belongs to this configuration."""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.errors import UserError
from sweeps.config import SweepConfig

STUDY_FILE = "study.json"
SHOWN_DIFFERENCES = 6


@dataclass
class StudyFolder:
    """An opened study; `seconds` grows with every launch."""

    path: Path
    study_id: str
    started: str
    seconds: float
    identity: Mapping[str, Any]

    def add_seconds(self, seconds: float) -> None:
        """Count the wall time of this launch."""
        self.seconds += seconds
        self.save()

    def save(self) -> None:
        content = {
            "id": self.study_id,
            "started": self.started,
            "seconds": self.seconds,
            "config": dict(self.identity),
        }
        temporary = self.path / f"{STUDY_FILE}.part"
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.path / STUDY_FILE)


@contextmanager
def open_folder(config: SweepConfig, resume: bool) -> Iterator[StudyFolder]:
    """The study's folder, created or resumed, locked against a second launch.

    Raises:
        UserError: it cannot be written, is in use, belongs to another configuration, or exists without `resume`.
    """
    path = config.folder
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / ".lock").open("w")
    except OSError as error:
        raise UserError(f"out: cannot write to {path} ({error.strerror}); choose another with -o out=FOLDER") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{path}: another launch works on this study; wait for it, or use -o study=NAME") from None
        yield _open(config, path, resume)


def _open(config: SweepConfig, path: Path, resume: bool) -> StudyFolder:
    file = path / STUDY_FILE
    identity = json.loads(json.dumps(config.identity()))
    if not file.exists():
        started = datetime.now(UTC).isoformat(timespec="seconds")
        folder = StudyFolder(path, uuid.uuid4().hex, started, 0.0, identity)
        folder.save()
        return folder
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        folder = StudyFolder(path, known["id"], known["started"], known["seconds"], known["config"])
    except (OSError, ValueError, KeyError):
        raise UserError(f"{file}: damaged; move the folder away, or use -o study=NAME") from None
    different = sorted(key for key in {*identity, *folder.identity} if identity.get(key) != folder.identity.get(key))
    if different:
        shown = ", ".join(
            f"{key} ({_short(folder.identity.get(key))} there, {_short(identity.get(key))} here)"
            for key in different[:SHOWN_DIFFERENCES]
        )
        raise UserError(
            f"study {config.study!r} in {path} exists with another configuration: {shown}"
            f"{' and more' if len(different) > SHOWN_DIFFERENCES else ''}; use -o study=NAME for a new one"
        )
    if not resume:
        raise UserError(f"study {config.study!r} exists in {path}; add --resume to go on, or -o study=NAME")
    return folder


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
