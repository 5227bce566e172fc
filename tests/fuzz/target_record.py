"""Records of studies: read, used as the commands use them before anything is drawn, written and read again."""

import tempfile
from pathlib import Path

from hypothesis import strategies as st

from evaluation.errors import UserError
from reports.compare import compare
from reports.content import content, intervals
from reports.record import RECORD_FILE, State, StudyRecord
from reports.record_file import read_record, write_record
from sweeps.finish.picked import picked_trial
from sweeps.finish.study_settings import settings_of
from tests.fuzz.harness import FuzzTarget, WrongResultError, edited
from tests.reports.conftest import CANDIDATES, record_of, trial


def _seed(*states: State) -> tuple[StudyRecord, bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        pairs = enumerate(zip(CANDIDATES, states, strict=False))
        trials = tuple(trial(number, candidate, folder, state) for number, (candidate, state) in pairs)
        return record_of(trials, folder), (folder / RECORD_FILE).read_bytes()


RECORD, FULL = _seed(State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED)
_, SMALL = _seed(State.COMPLETE)
_, NONE = _seed(State.FAILED)


def inputs(_shared: Path | None) -> st.SearchStrategy[bytes]:
    return edited([FULL, SMALL, NONE], most_edits=3)


def run(data: bytes, folder: Path) -> None:
    (folder / RECORD_FILE).write_bytes(data)
    record = read_record(folder)
    found = intervals(record)
    content(record, found, {})
    compare(RECORD, record, ("a", "b"))
    rows = [(row.image_file, row.label_file, row.baseline_file, row.choice_file) for row in record.overlays]
    names = [name for row in rows for name in row] + [one.plan_file for one in record.trials if one.plan_file]
    for name in names:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise WrongResultError(f"{name!r} leads out of the folder")
    write_record(record, folder)
    if read_record(folder) != record:
        raise WrongResultError("what is written is not read again")
    try:
        settings_of(record, folder, picked_trial(record, folder))
    except UserError as error:
        if not str(error).isprintable():
            raise WrongResultError(f"a refusal that is no single line: {error}") from None


TARGET = FuzzTarget(name="record", kind="record", inputs=inputs, run=run)
