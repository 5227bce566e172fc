"""A study's record as a file: written whole or not at all, and checked when it is read."""

from __future__ import annotations

import gc
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evaluation.errors import UserError
from evaluation.json_codec import to_json
from reports.files import existing_file, replace_file
from reports.record import RECORD_FILE, StudyRecord
from reports.record_checks import RecordError
from reports.schema import OtherVersionError, parse_record


def write_record(record: StudyRecord, folder: Path) -> Path:
    """Write `record.json` into the study's folder, all of it or nothing."""
    path = folder / RECORD_FILE
    replace_file(path, to_json(StudyRecord, record) + b"\n")
    return path


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Python's garbage collector would walk all that was read again and again while nothing of it is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_record(folder: Path) -> StudyRecord:
    """The record of the study in `folder`, checked by `reports.schema`.

    Raises:
        UserError: no such study, a record of another version, or a damaged one; it names the value.
    """
    path = folder / RECORD_FILE
    try:
        file = existing_file(folder, RECORD_FILE)
        content = None if file is None else file.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if content is None:
        raise UserError(f"{folder}: no study here ({RECORD_FILE} is missing); give a folder such as studies/streets")
    try:
        with _collector_paused():
            return parse_record(content.removeprefix(BOM_UTF8))
    except OtherVersionError as error:
        raise UserError(f"{path}: {error}") from None
    except RecordError as error:
        raise UserError(
            f"{path}: damaged: {error}; correct it, or write it again: python -m sweeps.launch CONFIG --resume"
        ) from None
