"""Opening the folder of a study: creating, resuming or joining it, after a comparison of configuration and inputs."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evaluation.errors import UserError
from sweeps.config.schema import FORMER_KEYS, SweepConfig
from sweeps.inputs import spans as input_spans
from sweeps.inputs.fingerprints import Inputs, changed_inputs, read_details, write_details
from sweeps.storage.coordinator import Coordinator
from sweeps.storage.journal import read_journal
from sweeps.storage.study_folder import LOCK_FILE, LOG_FILE, STUDY_FILE, StudyFolder, read_folder, unwritable

SHOWN = 6
"""Most differing keys in a message."""


@contextmanager
def locked(path: Path, exclusive: bool) -> Iterator[bool]:
    """Lock the folder of a study, and create it if missing. Yields whether it was created.

    Args:
        exclusive: an exclusive lock; otherwise a shared one.

    Raises:
        UserError: the folder cannot be written, or is in use.
    """
    is_new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK_FILE).open("w")
    except OSError as error:
        raise unwritable(path, error) from None
    with lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{path}: another process works on this study; wait for it, or use -o study=NAME") from None
        yield is_new


@contextmanager
def discarded_if_unused(path: Path, is_new: bool) -> Iterator[None]:
    """Remove a folder that was created here if an error ends the study before its first trial."""
    try:
        yield
    except Exception as error:
        if is_new and not read_journal(path):
            _discard(path, error)
        raise


def _discard(path: Path, error: Exception) -> None:
    """Remove the folder of a study without trials. The workers' log is kept if the error refers to it."""
    log = path / LOG_FILE
    if str(log) in str(error):
        kept = Path(tempfile.mkdtemp(prefix="petitlab-")) / LOG_FILE
        with suppress(OSError):
            shutil.copyfile(log, kept)
        error.args = tuple(str(part).replace(str(log), str(kept)) for part in error.args)
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # it may hold other studies
        path.parent.rmdir()


def joined(config: SweepConfig, path: Path, coordinator: Coordinator, inputs: Inputs | None) -> StudyFolder:
    """The folder of a study of several processes; the first of them sets its identity.

    Raises:
        UserError: this process has another configuration, or other inputs.
    """
    identity, launch, now = _this_launch(config)
    own: dict[str, Any] = {"id": uuid.uuid4().hex, "started": now, "config": identity}
    known = coordinator.once("study", own)
    if changed := _differences(known["config"], identity):
        shown = ", ".join(f"{key} ({_short(old)} there, {_short(new)} here)" for key, (old, new) in changed.items())
        raise UserError(f"study {config.study!r} in {config.storage.url} has another configuration: {shown}")
    spans: list[input_spans.Span] = []
    if inputs is not None:
        span: dict[str, Any] = {"at": now, "digests": dict(inputs.digests)}
        first = coordinator.once("inputs", span)
        if changed := changed_inputs(first["digests"], read_details(path), inputs):
            raise UserError(
                f"study {config.study!r} in {config.storage.url} is measured on other inputs than those here: "
                f"{input_spans.listed(changed)}; give this machine the same files, or use -o study=NAME"
            )
        write_details(inputs, path)
        spans.append(first)
    # One clock for all processes, from the start of the first.
    since = datetime.now(UTC) - datetime.fromisoformat(known["started"])
    folder = StudyFolder(path, known["id"], known["started"], since.total_seconds(), identity, launch, inputs=spans)
    folder.save()
    return folder


def _this_launch(config: SweepConfig) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The study's identity, the description of this process, and the time."""
    identity = json.loads(json.dumps(config.identity()))
    search = config.search
    launch = {"trials": search.trials, "workers": search.workers, "process": os.getpid(), "machine": platform.node()}
    launch["storage"] = config.storage.url
    return identity, launch, datetime.now(UTC).isoformat(timespec="seconds")


def begun_or_resumed(
    config: SweepConfig, path: Path, resume: bool, accept_changes: bool, inputs: Inputs | None
) -> StudyFolder:
    """The folder of a study that this process creates or resumes.

    Raises:
        UserError: the study has another configuration, was measured on other inputs, or exists without `resume`.
    """
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
            f"or --resume --accept-changes to continue this one, whose measured trials are kept"
        )
    measured = read_journal(path)
    others = input_spans.changed(folder.inputs, inputs, path) if measured else {}
    named = input_spans.listed(others)
    if others and not accept_changes:
        raise UserError(
            f"study {config.study!r} in {path} was measured on other inputs: {named} changed since; put them back, use "
            "-o study=NAME for a new study, or --resume --accept-changes to continue this one, whose measured "
            "trials are kept"
        )
    if not resume:
        raise UserError(f"study {config.study!r} exists in {path}; add --resume to continue, or -o study=NAME")
    folder.launch, folder.identity = launch, identity
    program = input_spans.other_program(folder.inputs, inputs) if measured else {}
    if changed or others or program:
        ends = {
            what: [input_spans.digest_suffix(digest) for digest in digests]
            for what, digests in (others | program).items()
        }
        folder.changes.append({"at": now, "trials": len(measured), "keys": changed, "inputs": ends})
    if inputs is not None:
        if measured and not folder.inputs:
            folder.notes.append(
                f"study {config.study!r} was begun by a version that did not fingerprint network and images: whether "
                "they are still those of its trials is not known; from now on they are compared"
            )
        input_spans.switch_inputs(folder.inputs, inputs, now, folder.started, measured, path)
    if program:
        folder.notes.append(
            f"the {len(measured)} earlier trials were measured by another version of the program or its libraries; "
            "they are kept, and the report says so"
        )
    if others:
        folder.notes.append(
            f"{named} changed: the {len(measured)} earlier trials are kept as measured, and the report says so"
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
