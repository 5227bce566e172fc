"""Journals of finished trials: whatever happened to a file, a trial whose line is whole is there, and as it was."""

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st

from evaluation.errors import UserError
from reports.record import State, Trial
from sweeps.storage.journal import Journal, read_journal
from sweeps.storage.journal_lines import line_of, read_lines
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited
from tests.reports.conftest import CANDIDATES, trial

STATES = (State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED, State.COMPLETE)


def _trials() -> list[Trial]:
    """As a study has them, with two images each."""
    made = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, (candidate, state) in enumerate(zip(CANDIDATES, STATES, strict=False)):
            one = trial(number, candidate, Path(scratch), state)
            if one.measurement is not None:
                scores = one.measurement.scores
                one = replace(one, measurement=replace(one.measurement, scores=scores.subset(scores.image_ids[:2])))
            made.append(one)
    return made


TRIALS = _trials()
LINES = [line_of(one) for one in TRIALS]
KNOWN = {one.number: one for one in TRIALS}


def inputs(_shared: Path | None) -> st.SearchStrategy[bytes]:
    return edited([b"".join(LINES), b"".join(LINES[1:])])


def run(data: bytes, folder: Path) -> None:
    file = folder / "trials.jsonl"
    file.write_bytes(data)
    seen = read_journal(folder)
    if file.read_bytes() != data or len(list(folder.iterdir())) > 1:
        raise WrongResultError("reading has written")
    for number, found in seen.items():
        if found != KNOWN.get(number):
            raise WrongResultError(f"trial {number} is not as it was")
    for one, line in zip(TRIALS, LINES, strict=True):
        if (b"\n" + data).count(b"\n" + line) and one.number not in seen:
            raise WrongResultError(f"trial {one.number} is lost, and its line is whole")
    journal = Journal(folder)
    kept = [path.read_bytes() for path in folder.glob("trials.damaged-*.jsonl")]
    if bool(read_lines(data).damaged) != bool(journal.notice) or (journal.notice and kept != [data]):
        raise WrongResultError("damage is not said, or the damaged file is not kept")
    if journal.trials.keys() != seen.keys() or Journal(folder).notice or read_journal(folder).keys() != seen.keys():
        raise WrongResultError("a mended journal is another")
    if journal.notice:
        raise UserError(journal.notice)  # counted as a refusal: the line that the user is told


TARGET = FuzzTarget(name="journal", kind="journal", inputs=inputs, run=run)
