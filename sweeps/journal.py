"""The journal: one line of JSON for every finished trial, on disk before anyone else is told.

It is the one truth of a study. Optuna's and MLflow's databases are brought up to it after a kill, never the other way.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from reports.record import Trial

JOURNAL_FILE = "trials.jsonl"


def read_journal(folder: Path) -> dict[int, Trial]:
    """The finished trials of a study by number, while it runs or after."""
    try:
        return _parse((folder / JOURNAL_FILE).read_bytes())[0]
    except FileNotFoundError:
        return {}


def _parse(content: bytes) -> tuple[dict[int, Trial], int]:
    """The trials of the lines that are whole, and the bytes of these lines."""
    trials: dict[int, Trial] = {}
    whole = 0
    for line in content.splitlines(keepends=True):
        try:
            trial = Trial.from_dict(json.loads(line)) if line.endswith(b"\n") else None
        except (ValueError, KeyError, TypeError):
            trial = None
        if trial is None:
            break
        trials[trial.number] = trial
        whole += len(line)
    return trials, whole


class Journal:
    """Append-only; a line that a kill cut short is dropped at the next opening."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE
        content = self._path.read_bytes() if self._path.exists() else b""
        self.trials, whole = _parse(content)
        if whole < len(content):
            with self._path.open("r+b") as file:
                file.truncate(whole)

    def append(self, trial: Trial) -> None:
        """Returns when the line is on the disk."""
        line = json.dumps(trial.to_dict(), separators=(",", ":")) + "\n"
        with self._path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        self.trials[trial.number] = trial
