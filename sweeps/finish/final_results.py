"""What is known of a study beyond its trials, and what of it an earlier closing of the study has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evaluation.accuracy import Scores
from evaluation.errors import UserError
from evaluation.measurement import Execution
from reports.files import set_aside
from reports.record import RECORD_FILE, ChainStep, OtherRuntimes, OverlayRow
from reports.record_file import read_record
from sweeps.storage.study_folder import StudyFolder


@dataclass(frozen=True)
class FinalResults:
    """What is known beyond the trials: of an earlier closing, or of this one."""

    heldout: Mapping[int, Scores] = field(default_factory=dict)
    executions: Mapping[int, Execution] = field(default_factory=dict)
    other_runtimes: Mapping[int, OtherRuntimes] = field(default_factory=dict)
    chain: tuple[ChainStep, ...] = ()
    overlays: tuple[OverlayRow, ...] = ()
    not_executed: str | None = None
    """Why not every program was run."""


@dataclass(frozen=True)
class Basis:
    """What a closing starts from."""

    known: FinalResults
    lost: frozenset[int] = frozenset()
    """Trials whose network cannot be made again, since what it was made from has changed."""
    stale: frozenset[int] = frozenset()
    """Trials whose search scores are not of the present inputs; nothing is compared with them step by step."""


def known_results(folder: StudyFolder) -> FinalResults:
    """What an earlier closing of this study found, but for scores on held-out images that have changed since. A damaged
    record is kept under another name, and all of it is found anew."""
    file = folder.path / RECORD_FILE
    if not file.exists():
        return FinalResults()
    try:
        earlier = read_record(folder.path)
    except UserError:
        set_aside(file, file.read_bytes())
        return FinalResults()
    before = earlier.inputs[-1].digests if earlier.inputs else {}
    now = folder.inputs[-1]["digests"] if folder.inputs else {}
    same = before.get("heldout") in (None, now.get("heldout"))
    # A program that crashed is run again: what killed it may have been the machine.
    executions = {number: seen for number, seen in earlier.executions.items() if seen.failure is None}
    return FinalResults(earlier.heldout if same else {}, executions, earlier.other_runtimes)
