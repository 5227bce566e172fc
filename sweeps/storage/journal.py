"""The journal: one line of JSON for every finished trial, on disk before anyone else is told.

It is the one truth of a study. Optuna's and MLflow's databases are brought up to it after a kill, never the other way.
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
"""Damaged lines that a message names."""


def read_journal(folder: Path) -> dict[int, Trial]:
    """The finished trials of a study by number, while it runs or after. Nothing is written.

    Raises:
        UserError: the journal is a link that leads out of the folder.
    """
    file = existing_file(folder, JOURNAL_FILE)
    return {} if file is None else read_lines(file.read_bytes()).trials


class Journal:
    """Append-only. A line that a kill cut short is dropped at the next opening.

    Any other damage loses the trial of its own line: the file is set aside as it was, and written anew without the
    line. `unfinished` of the study then finds that the trial has no answer, and it is measured again under its number.

    Raises:
        UserError: the journal is a link that leads out of the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = inside(folder, JOURNAL_FILE)
        content = self._path.read_bytes() if self._path.exists() else b""
        lines = read_lines(content)
        self.trials = lines.trials
        self.notice: str | None = None
        """One line for the user about what was found damaged."""
        if lines.damaged:
            kept = set_aside(self._path, content)
            self.notice = _notice(folder / JOURNAL_FILE, lines.damaged, kept)
        if lines.damaged or lines.is_cut:
            replace_file(self._path, b"".join(line_of(trial) for trial in self.trials.values()))

    def append(self, trial: Trial) -> None:
        """Returns when the line is on the disk."""
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
