"""The images of a study by use: search, held-out, training, calibration. Images are decoded on access."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deeplab.datasets import DATASETS, Dataset, Sample, Split, open_dataset
from deeplab.datasets.digests import FileState, file_state
from deeplab.datasets.part import DatasetPart, spread
from evaluation.errors import UserError
from sweeps.config.schema import CalibrationConfig, DataConfig, parse_split


@dataclass(frozen=True, eq=False)
class Images:
    """A study's data set and its split for each use."""

    dataset: Dataset
    search: Split
    heldout: Split
    train: Split | None
    calibration: Split
    """Images for activation ranges and `distill`, never scored."""


class Unchanged(Split):
    """A split whose files must not change: reading a changed file raises `UserError`.

    Scores are cached by the fingerprint of the files, taken once per process, so a file replaced later would be scored
    under the fingerprint of the former one.
    """

    def __init__(self, whole: Split, states: dict[Path, FileState] | None = None) -> None:
        self._whole = whole
        paths = (path for index in range(len(whole)) for path in whole.files(index))
        self._states = {path: file_state(path) for path in paths} if states is None else states

    @property
    def image_ids(self) -> tuple[str, ...]:
        return self._whole.image_ids

    def image(self, index: int) -> np.ndarray:
        image = self._whole.image(index)
        self._verify(self._whole.files(index)[:1])
        return image

    def sample(self, index: int) -> Sample:
        sample = self._whole.sample(index)
        self._verify(self._whole.files(index))
        return sample

    def _verify(self, paths: Sequence[Path]) -> None:
        for path in paths:
            if file_state(path) != self._states[path]:
                raise UserError(
                    f"{path}: was changed while the study ran; put it back and continue with --resume, or begin a new "
                    "one"
                )

    def check(self) -> None:
        self._whole.check()

    def take(self, count: int) -> Unchanged:
        return Unchanged(self._whole.take(count), self._states)

    def fingerprint(self) -> str:
        return self._whole.fingerprint()

    def part_fingerprint(self, indices: Sequence[int]) -> str:
        return self._whole.part_fingerprint(indices)

    def files(self, index: int) -> tuple[Path, ...]:
        return self._whole.files(index)


def unchanged(images: Images) -> Images:
    """The same images, with a check at each reading that files are unchanged."""

    def kept(split: Split) -> Split:
        return Unchanged(split) if split.files(0) else split

    return replace(
        images,
        search=kept(images.search),
        heldout=kept(images.heldout),
        train=None if images.train is None else kept(images.train),
        calibration=kept(images.calibration),
    )


def open_images(config: DataConfig) -> Images:
    """Open the data sets of a study. Raises `UserError` if one is missing, or if uses share images."""
    dataset = open_dataset(config.name, config.path, **config.options)
    search, heldout = open_part(dataset, config.search), open_part(dataset, config.heldout)
    train = open_part(dataset, config.train) if config.train else None
    uses = {"search": search, "heldout": heldout} | ({} if train is None else {"train": train})
    for (one, first), (other, second) in itertools.combinations(uses.items(), 2):
        if shared := set(first.image_ids) & set(second.image_ids):
            raise UserError(
                f"data.{one} and data.{other} share {len(shared)} images, the first is {min(shared)}; make them "
                "disjoint"
            )
    calibration = _calibration(config.calibration, dataset, train)
    if config.calibration is not None:
        _check_calibration(config, config.calibration, calibration, {"search": search, "heldout": heldout})
    return Images(dataset, search, heldout, train, calibration)


def _check_calibration(
    config: DataConfig, other: CalibrationConfig, calibration: Split, scored: Mapping[str, Split]
) -> None:
    """Raise `UserError` for images that are both calibration and scored images: scores would be biased."""
    used = _identities(other, calibration)
    for use, split in scored.items():
        if shared := sorted(used[key] for key in used.keys() & _identities(config, split).keys()):
            raise UserError(
                f"data.calibration and data.{use} share {'1 image' if len(shared) == 1 else f'{len(shared)} images'}, "
                f"the first is {shared[0]}; make them disjoint, e.g. with data.calibration.split: train"
            )


def _identities(config: DataConfig | CalibrationConfig, split: Split) -> dict[tuple[object, ...], str]:
    """The ids of a split's images by their identities: the file and, in a public data set, the id; for generated images
    the id and the seed."""
    seed = getattr(DATASETS[config.name].options(**config.options), "seed", None)
    found: dict[tuple[object, ...], str] = {}
    for index, image_id in enumerate(split.image_ids):
        files = split.files(index)
        if files:
            found["file", os.path.realpath(files[0])] = image_id
        if config.name != "folder":
            found[config.name, None if files else seed, image_id] = image_id
    return found


def _calibration(config: CalibrationConfig | None, dataset: Dataset, train: Split | None) -> Split:
    if config is None:
        assert train is not None  # the configuration has `train` or `calibration`
        return spread(train, CalibrationConfig.model_fields["images"].default).unlabelled()
    other = open_dataset(config.name, config.path, **config.options)
    return spread(open_part(other, config.split), config.images).unlabelled()


def open_part(dataset: Dataset, text: str) -> Split:
    """The split that `text` names: `val`, or a part of it such as `val[:27]`."""
    name, run = parse_split(text)
    whole = dataset.split(name)
    indices = range(len(whole))[run]
    if not indices:
        raise UserError(f"{dataset.name}: {text} is empty; {name} has {len(whole)} images")
    return whole if len(indices) == len(whole) else DatasetPart(whole, indices)
