"""Part of a split: `val[:27]`, every third image, or some from all over it; and a split held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from deeplab.datasets.interface import Sample, Split


class DatasetPart(Split):
    """The images of a split at `indices`."""

    def __init__(self, whole: Split, indices: Sequence[int]) -> None:
        self._whole, self._indices = whole, indices

    @cached_property
    def image_ids(self) -> tuple[str, ...]:
        ids = self._whole.image_ids
        return tuple(ids[index] for index in self._indices)

    def image(self, index: int) -> np.ndarray:
        return self._whole.image(self._indices[index])

    def sample(self, index: int) -> Sample:
        return self._whole.sample(self._indices[index])

    def check(self) -> None:
        self._whole.check()

    def take(self, count: int) -> DatasetPart:
        return DatasetPart(self._whole, self._indices[:count])

    def fingerprint(self) -> str:
        return self._whole.part_fingerprint(self._indices)

    def part_fingerprint(self, indices: Sequence[int]) -> str:
        return self._whole.part_fingerprint([self._indices[index] for index in indices])

    def files(self, index: int) -> tuple[Path, ...]:
        return self._whole.files(self._indices[index])

    def unlabelled(self) -> DatasetPart:
        return DatasetPart(self._whole.unlabelled(), self._indices)


class Kept(Split):
    """A split whose images have been read."""

    def __init__(self, whole: Split, samples: Sequence[Sample]) -> None:
        self._whole, self._samples = whole, samples

    @property
    def image_ids(self) -> tuple[str, ...]:
        return self._whole.image_ids

    def image(self, index: int) -> np.ndarray:
        return self._samples[index].image

    def sample(self, index: int) -> Sample:
        return self._samples[index]

    def check(self) -> None:
        self._whole.check()

    def take(self, count: int) -> Kept:
        return Kept(self._whole.take(count), self._samples[:count])

    def fingerprint(self) -> str:
        return self._whole.fingerprint()

    def part_fingerprint(self, indices: Sequence[int]) -> str:
        return self._whole.part_fingerprint(indices)

    def files(self, index: int) -> tuple[Path, ...]:
        return self._whole.files(index)


def spread(whole: Split, count: int) -> Split:
    """`count` images, or all where there are fewer, evenly spaced: neighbours of a drive show the same street."""
    if count >= len(whole):
        return whole
    return DatasetPart(whole, tuple(place * len(whole) // count for place in range(count)))
