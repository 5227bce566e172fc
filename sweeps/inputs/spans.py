"""The inputs of a study over time: each span holds the inputs on which some of its trials were measured.

A span is {"at": time of the first use, "digests": see `fingerprints.Inputs`, "trials": numbers}. The last span is open:
it has no "trials", and holds for all trials in no other span. Trials of a version that stored no digests are in a span
with empty digests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.record import MeasuredOn
from sweeps.inputs.fingerprints import PROGRAM, Inputs, changed_inputs, read_details, write_details

MOST_LETTERS = 160
"""Most letters of the changed inputs in a message."""
Span = Mapping[str, Any]
Changed = dict[str, tuple[str, str]]
"""Description of a changed input -> (digest before, digest now)."""


def stale(spans: Sequence[Span], uses: Collection[str]) -> frozenset[int]:
    """Numbers of the trials for which one of these inputs differed from that of the last span."""
    now = spans[-1]["digests"] if spans else {}
    return frozenset(
        number
        for span in spans[:-1]
        if any(use in now and span["digests"].get(use, now[use]) != now[use] for use in uses)
        for number in span.get("trials", ())
    )


def measured_on(spans: Sequence[Span], numbers: Collection[int]) -> tuple[MeasuredOn, ...]:
    """The spans for the record; `numbers` are those of all trials."""
    closed = [*spans[:-1], *(dict(span) | {"trials": set(numbers) - _numbers(spans)} for span in spans[-1:])]
    return tuple(MeasuredOn(span["at"], span["digests"], tuple(sorted(span.get("trials", ())))) for span in closed)


def changed(spans: Sequence[Span], inputs: Inputs | None, folder: Path) -> Changed:
    """The changes since the last span; empty where either side is unknown."""
    if inputs is None or not spans:
        return {}
    return changed_inputs(spans[-1]["digests"], read_details(folder), inputs)


def other_program(spans: Sequence[Span], inputs: Inputs | None) -> Changed:
    """The change of the program since the last span. It is only reported, since a user need not undo an update."""
    before = spans[-1]["digests"].get(PROGRAM) if spans else None
    now = inputs.digests.get(PROGRAM) if inputs is not None else None
    return {PROGRAM: (before, now)} if before is not None and now is not None and before != now else {}


def begin(spans: list[Span], inputs: Inputs, now: str, folder: Path) -> None:
    """Open a span."""
    spans.append({"at": now, "digests": dict(inputs.digests)})
    write_details(inputs, folder)


def switch_inputs(
    spans: list[Span], inputs: Inputs, now: str, started: str, measured: Collection[int], folder: Path
) -> None:
    """Make these inputs those of all trials from now on.

    Args:
        started: start time of the study.
        measured: numbers of the trials that have been measured.
    """
    if spans and (dict(spans[-1]["digests"]) == dict(inputs.digests) or not measured):
        spans[-1] = dict(spans[-1]) | {"digests": dict(inputs.digests)}
        write_details(inputs, folder)
        return
    if not spans and measured:
        spans.append({"at": started, "digests": {}})
    if spans:
        spans[-1] = dict(spans[-1]) | {"trials": sorted(set(measured) - _numbers(spans))}
    begin(spans, inputs, now, folder)


def listed(changed: Collection[str]) -> str:
    """The first changed inputs as text, and the number of others."""
    names = list(changed)
    shown = [name for index, name in enumerate(names) if index == 0 or sum(map(len, names[: index + 1])) < MOST_LETTERS]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more


def digest_suffix(digest: str) -> str:
    """The last 12 digits of a digest; its beginning may be a count."""
    return digest[-12:]


def _numbers(spans: Sequence[Span]) -> set[int]:
    """Numbers of the trials in closed spans."""
    return {number for span in spans[:-1] for number in span.get("trials", ())}
