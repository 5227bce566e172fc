"""The pictures of a study, by use: search, held-out, training, calibration. Opened once, decoded when needed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from deeplab.datasets import Dataset, Sample, Split, open_dataset
from evaluation.errors import UserError
from sweeps.config import CalibrationConfig, DataConfig, parse_split


class Part(Split):
    """A run of consecutive pictures of a split: what `val[:27]` means."""

    def __init__(self, whole: Split, indices: range) -> None:
        self._whole, self._indices = whole, indices

    @property
    def image_ids(self) -> tuple[str, ...]:
        ids = self._whole.image_ids
        return tuple(ids[index] for index in self._indices)

    def image(self, index: int) -> np.ndarray:
        return self._whole.image(self._indices[index])

    def sample(self, index: int) -> Sample:
        return self._whole.sample(self._indices[index])

    def check(self) -> None:
        self._whole.check()

    def take(self, count: int) -> Part:
        return Part(self._whole, self._indices[:count])

    def fingerprint(self) -> str:
        run = f"{self._whole.fingerprint()}[{self._indices.start}:{self._indices.stop}]"
        return hashlib.sha256(run.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Pictures:
    """A study's data set and the parts of it that serve each use."""

    dataset: Dataset
    search: Split
    heldout: Split
    train: Split | None
    calibration: Split
    """Never scored; `distill` learns from these too."""


def open_pictures(config: DataConfig) -> Pictures:
    """Open the data sets of a study. Raises `UserError` for what is missing or does not fit."""
    dataset = open_dataset(config.name, config.path, **config.options)
    search, heldout = open_part(dataset, config.search), open_part(dataset, config.heldout)
    shared = set(search.image_ids) & set(heldout.image_ids)
    if shared:
        raise UserError(
            f"data.search and data.heldout share {len(shared)} pictures, the first is {min(shared)}; make them disjoint"
        )
    train = open_part(dataset, config.train) if config.train else None
    calibration = _calibration(config.calibration, dataset, train)
    return Pictures(dataset, search, heldout, train, calibration)


def _calibration(config: CalibrationConfig | None, dataset: Dataset, train: Split | None) -> Split:
    if config is None:
        assert train is not None  # the configuration has one of the two
        return train.take(CalibrationConfig.model_fields["pictures"].default)
    other = open_dataset(config.name, config.path, **config.options)
    return open_part(other, config.split).take(config.pictures)


def open_part(dataset: Dataset, text: str) -> Split:
    """The split that `text` names: `val`, or a part of it such as `val[:27]`."""
    name, run = parse_split(text)
    whole = dataset.split(name)
    indices = range(len(whole))[run]
    if not indices:
        raise UserError(f"{dataset.name}: {text} is empty; {name} has {len(whole)} pictures")
    return whole if len(indices) == len(whole) else Part(whole, indices)
