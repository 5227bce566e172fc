"""The pictures of a study, by use: search, held-out, training, calibration. Opened once, decoded when needed."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab.datasets import Dataset, Split, open_dataset
from deeplab.datasets.part import Part, spread
from evaluation.errors import UserError
from sweeps.config import CalibrationConfig, DataConfig, parse_split


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
        return spread(train, CalibrationConfig.model_fields["pictures"].default)
    other = open_dataset(config.name, config.path, **config.options)
    return spread(open_part(other, config.split), config.pictures)


def open_part(dataset: Dataset, text: str) -> Split:
    """The split that `text` names: `val`, or a part of it such as `val[:27]`."""
    name, run = parse_split(text)
    whole = dataset.split(name)
    indices = range(len(whole))[run]
    if not indices:
        raise UserError(f"{dataset.name}: {text} is empty; {name} has {len(whole)} pictures")
    return whole if len(indices) == len(whole) else Part(whole, indices)
