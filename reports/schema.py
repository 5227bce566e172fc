"""The schema of `record.json` and of a journal's trials, and its messages.

Types and fields are those of the dataclasses in `reports.record`; pydantic checks them strictly, directly from JSON.
Conditions that types do not express are checked afterwards by `reports.record_checks`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from reports.files import shown
from reports.former_versions import FORMER_VERSIONS, current_record, current_trial
from reports.record import RECORD_VERSION, StudyRecord, Trial
from reports.record_checks import RecordError, check_record, check_trial, problem_of, resolved

T = TypeVar("T")
_KEY = secrets.token_hex(8)
"""Key of the object that wraps the JSON. It is random, so that no file can contain it and close the object early."""


class OtherVersionError(RecordError):
    """The file's version is not one that this program reads."""


class _Holder(BaseModel, Generic[T]):
    """Gives its configuration to nested standard dataclasses, which cannot have one of their own."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    value: T = Field(validation_alias=_KEY)


_RECORD = TypeAdapter(_Holder[StudyRecord])
_TRIAL = TypeAdapter(_Holder[Trial])


def parse_record(content: bytes) -> StudyRecord:
    """A study's record from the JSON of `record.json`.

    Raises:
        RecordError: the JSON does not match the schema; the message names the first such value.
    """
    record = _parse(_RECORD, content, current_record)
    if record.version != RECORD_VERSION:
        raise _other_version(record.version)
    check_record(record)
    return record


def parse_trial(content: bytes) -> Trial:
    """A trial from one line of a journal; see `parse_record`."""
    trial = _parse(_TRIAL, content, current_trial)
    check_trial(trial)
    return trial


def _other_version(version: object) -> OtherVersionError:
    listed = ", ".join(str(number) for number in (*FORMER_VERSIONS, RECORD_VERSION))
    told = f"version {shown(version)}, but this program reads {listed}; use the program that wrote it"
    return OtherVersionError((), told)


def _parse(adapter: TypeAdapter, content: bytes, current: Callable[[bytes], bytes | None]) -> Any:
    """Parse and validate JSON.

    Args:
        current: converts JSON of a former version to this one; returns None if it is of no former version.
    """
    try:
        return _validated(adapter, content)
    except ValidationError as error:
        renamed = current(content)
        if renamed is None:
            raise _explained(error, content) from None
    try:
        return _validated(adapter, renamed)
    except ValidationError as error:
        raise _explained(error, renamed) from None


def _validated(adapter: TypeAdapter, content: bytes) -> Any:
    return adapter.validate_json(b'{"%s":%s}' % (_KEY.encode(), content)).value


def _explained(error: ValidationError, content: bytes) -> RecordError:
    detail = error.errors(include_url=False, include_context=True)[0]
    if detail["type"] == "json_invalid":
        return RecordError((), "not JSON")
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return RecordError((), "not JSON")
    version = tree.get("version", RECORD_VERSION) if isinstance(tree, dict) else RECORD_VERSION
    if version != RECORD_VERSION or isinstance(version, bool):
        return _other_version(version)
    where = resolved(detail["loc"][1:], tree, detail["type"] in ("missing", "unexpected_keyword_argument"))
    if detail["type"] == "unexpected_keyword_argument":
        return RecordError(where, "no field of this version")
    return RecordError(where, problem_of(detail))
