"""The journal: one line of JSON for every finished trial, on disk before Optuna and MLflow are told.

It is authoritative: after a kill, Optuna's and MLflow's databases are updated from it, never the reverse.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from reports.files import existing_file, inside, replace_file, set_aside
from reports.record import Trial
from sweeps.storage.journal_lines import Damage, line_of, read_lines

JOURNAL_FILE = "trials.jsonl"
LISTED = 8
"""Most damaged lines that a message lists."""


def read_journal(folder: Path) -> dict[int, Trial]:
    """The finished trials of a study by number, during or after the study. Nothing is written.

    Raises:
        UserError: the journal is a link that leads out of the folder.
    """
    file = existing_file(folder, JOURNAL_FILE)
    return {} if file is None else read_lines(file.read_bytes()).trials


class Journal:
    """An append-only journal. A last line cut by a kill is dropped at the next opening.

    Other damage loses the trial of its line: the file is set aside, and rewritten without the line. `Study.unfinished`
    then returns the trial, and it is measured again under its number.

    Raises:
        UserError: the journal is a link that leads out of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = inside(folder, JOURNAL_FILE)
        content = self._path.read_bytes() if self._path.exists() else b""
        lines = read_lines(content)
        self.trials = lines.trials
        self.notice: str | None = None
        """One line for the user about damaged lines; None if there were none."""
        if lines.damaged:
            kept = set_aside(self._path, content)
            self.notice = _notice(folder / JOURNAL_FILE, lines.damaged, kept)
        if lines.damaged or lines.is_cut:
            replace_file(self._path, b"".join(line_of(trial) for trial in self.trials.values()))

    def append(self, trial: Trial) -> None:
        """Append a trial. On return the line is on disk."""
        with self._path.open("ab") as file:
            file.write(line_of(trial))
            file.flush()
            os.fsync(file.fileno())
        self.trials[trial.number] = trial


def _notice(path: Path, damaged: Sequence[Damage], kept: Path) -> str:
    shown = ", ".join(str(damage.line) for damage in damaged[:LISTED])
    more = f" and {len(damaged) - LISTED} more" if len(damaged) > LISTED else ""
    lost = sum(damage.loses for damage in damaged)
    again = {0: "no trial is lost", 1: "the trial that is lost with it is measured again"}
    return (
        f"{path}: damaged in line{'s' * (len(damaged) > 1)} {shown}{more} ({damaged[0].reason}): "
        f"{again.get(lost, f'the {lost} trials that are lost with them are measured again')}; the file as it was is "
        f"kept as {kept.name}"
    )
