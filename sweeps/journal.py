"""The journal: one line of JSON for every finished trial, on disk before anyone else is told.

It is the one truth of a study. Optuna's and MLflow's databases are brought up to it after a kill, never the other way.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from reports.record import Trial

JOURNAL_FILE = "trials.jsonl"


class Journal:
    """Append-only; a line that a kill cut short is dropped at the next opening."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL_FILE
        self.trials: dict[int, Trial] = {}
        whole = 0
        if self._path.exists():
            content = self._path.read_bytes()
            for line in content.splitlines(keepends=True):
                try:
                    trial = Trial.from_dict(json.loads(line)) if line.endswith(b"\n") else None
                except (ValueError, KeyError, TypeError):
                    trial = None
                if trial is None:
                    break
                self.trials[trial.number] = trial
                whole += len(line)
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
