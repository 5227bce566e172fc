"""The lines of a journal, a trial with a checksum in each, and the recovery of trials from a damaged file.

A line is the JSON object of a trial with a last field `crc32`: the CRC-32 of the object without that field, as 8
hexadecimal digits. It detects every burst error of up to 32 bits. Journals from before 2026-12 have no such field;
their lines are checked by the schema of a trial alone.
"""

from __future__ import annotations

import itertools
import re
import zlib
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from evaluation.json_codec import to_json
from reports.record import Trial
from reports.record_checks import RecordError
from reports.schema import parse_trial
from sweeps.config.space import Candidate

_CHECKSUM = re.compile(rb',\s*"crc32":\s*"([0-9a-f]{8})"\s*\}$')
_CHECKSUM_BYTES = 24
"""Length of `,"crc32":"01234567"}`, with room for damaged characters."""
_OPENING = re.compile(rb'\{"number":')
_SPACE = b" \t\r"
_CLOSINGS = 2
"""Most closing braces at the end of a line: a damaged line end may have become a second "}"."""


@dataclass(frozen=True)
class Damage:
    """A damaged line."""

    line: int
    """Line number, from 1."""
    reason: str
    loses: bool
    """Whether a trial is lost with it."""


@dataclass
class Lines:
    """The trials and the damage of a journal's bytes."""

    trials: dict[int, Trial] = field(default_factory=dict)
    """Trials by number, in the order of the lines."""
    damaged: list[Damage] = field(default_factory=list)
    is_cut: bool = False
    """Whether the last line is incomplete: its writing was interrupted, and its trial was told to nobody."""


def line_of(trial: Trial) -> bytes:
    """A trial as a line of the journal, with its line end."""
    text = to_json(Trial, trial)
    return b'%s,"crc32":"%08x"}\n' % (text[:-1], zlib.crc32(text))


def trial_of(text: bytes) -> Trial:
    """The trial of one line, given without its line end.

    Raises:
        RecordError: the line is damaged, or has a field of another version.
    """
    text = text.strip(_SPACE)
    found = _CHECKSUM.search(text)
    if found is not None:
        text = text[: found.start()] + b"}"
        if zlib.crc32(text) != int(found[1], 16):
            raise RecordError((), "its checksum is not that of its content")
    elif b"crc32" in text[-_CHECKSUM_BYTES:]:
        raise RecordError((), "its checksum is damaged")
    trial = parse_trial(text)
    try:
        Candidate.from_params(trial.params)
    except (TypeError, ValueError) as error:
        raise RecordError(("params",), f"{error}") from None
    if found is None and trial.plan_file and PurePosixPath(trial.plan_file).stem != trial.label:
        raise RecordError(("plan_file",), f"is of another trial than number {trial.number}")
    return trial


def read_lines(content: bytes) -> Lines:
    """The trials of a journal, damaged or not.

    A damaged line loses its own trial only. Where a damaged line end joins two lines, both trials are recovered. Of two
    different lines with one number, both are dropped.
    """
    lines = Lines()
    doubtful: set[int] = set()
    texts = content.split(b"\n")
    lines.is_cut = texts[-1] != b""
    if not lines.is_cut:
        texts.pop()
    for place, text in enumerate(texts, 1):
        found, reason, loses = _trials_in(text)
        if lines.is_cut and place == len(texts) and not found:
            break
        for trial in found:
            if trial.number in lines.trials:
                reason = f"trial {trial.number} is in an earlier line, too"
                if lines.trials[trial.number] != trial:
                    doubtful.add(trial.number)
                    loses = True
            lines.trials[trial.number] = trial
        if reason is not None:
            lines.damaged.append(Damage(place, reason, loses))
    for number in doubtful:
        del lines.trials[number]
    return lines


def _trials_in(text: bytes) -> tuple[list[Trial], str | None, bool]:
    """The trials in the text between two line ends, the problem with it or None, and whether a trial is lost."""
    try:
        return [trial_of(text)], None, False
    except RecordError as error:
        reason = str(error)
    if not text.strip():
        return [], "it is empty", False
    starts = [match.start() for match in _OPENING.finditer(text)]
    parts = [text[start:end] for start, end in itertools.pairwise([*starts, len(text)])]
    found = [trial for trial in map(_first_trial, parts) if trial is not None]
    return found, reason if not found else "its end is damaged", len(found) < max(len(starts), 1)


def _first_trial(text: bytes) -> Trial | None:
    """The trial at the beginning of a text, or None."""
    end = len(text)
    for _ in range(_CLOSINGS):
        end = text.rfind(b"}", 0, end)
        if end < 0:
            return None
        line, rest = text[: end + 1], text[end + 1 :]
        if len(rest) > 1 and not _CHECKSUM.search(line):
            continue  # without a checksum the line may be incomplete
        try:
            return trial_of(line)
        except RecordError:
            continue
    return None
