"""The networks of the front as files, in a folder of the study for each of its trials."""

from __future__ import annotations

import shutil
from collections.abc import Hashable, Mapping
from pathlib import Path

from reports.record import NETWORKS, Trial


def without_files(trials: Mapping[int, Trial], folder: Path) -> list[int]:
    """Points of the front whose networks are not kept yet."""
    return [number for number, trial in trials.items() if not (folder / NETWORKS / trial.label).exists()]


def keep_networks(trials: Mapping[int, Trial], answers: Mapping[Hashable, object], folder: Path) -> None:
    """The networks of the front as files, in a folder for each trial; those of trials that left it go."""
    kept = {trial.label for trial in trials.values()}
    for old in (folder / NETWORKS).glob("trial-*"):
        if old.name not in kept:
            shutil.rmtree(old)
    for number, trial in trials.items():
        files = answers.get(number)
        if not isinstance(files, dict) or not files:  # it was not asked for, was lost, or there is none to keep
            continue
        place = folder / NETWORKS / trial.label
        unfinished = place.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, content in files.items():
            (unfinished / name).write_bytes(content)
        unfinished.rename(place)
