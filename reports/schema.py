"""The schema of `record.json` and of a journal's trials: one reading, one kind of message.

Types and fields are those of the dataclasses in `reports.record`; pydantic checks them strictly, straight from JSON.
What no type says is checked after that by `reports.record_checks`.
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
"""Wraps the JSON in an object; no file can hold it, so none can close that object early."""


class OtherVersionError(RecordError):
    """The file says itself that another version wrote it."""


class _Holder(BaseModel, Generic[T]):
    """Nested standard dataclasses take over this configuration; one that stands alone cannot be given any."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    value: T = Field(validation_alias=_KEY)


_RECORD = TypeAdapter(_Holder[StudyRecord])
_TRIAL = TypeAdapter(_Holder[Trial])


def parse_record(content: bytes) -> StudyRecord:
    """A study's record from the JSON of `record.json`.

    Raises:
        RecordError: naming the first value that is not what the schema asks for.
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
    """The value that some JSON holds.

    Args:
        current: JSON of a former version with the names of this one, or None where it is of none.
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
