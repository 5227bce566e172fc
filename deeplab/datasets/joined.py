"""Several splits as one, for images that calibrate or teach and come from more than one data set."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

import numpy as np

from deeplab.datasets.interface import Sample, Split


class Joined(Split):
    """One split after the other. Ids are led by the part's number, since two data sets may use one name."""

    def __init__(self, *parts: Split) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(len(part) for part in parts)]

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(f"{number}/{image_id}" for number, part in enumerate(self._parts) for image_id in part.image_ids)

    def image(self, index: int) -> np.ndarray:
        part, place = self._find(index)
        return part.image(place)

    def sample(self, index: int) -> Sample:
        part, place = self._find(index)
        found = part.sample(place)
        return Sample(self.image_ids[index], found.image, found.label)

    def check(self) -> None:
        for part in self._parts:
            part.check()

    def take(self, count: int) -> Joined:
        left = [max(0, count - start) for start in self._starts]
        return Joined(*(part.take(most) for part, most in zip(self._parts, left, strict=False) if most))

    def fingerprint(self) -> str:
        return hashlib.sha256("+".join(part.fingerprint() for part in self._parts).encode()).hexdigest()

    def files(self, index: int) -> tuple[Path, ...]:
        part, place = self._find(index)
        return part.files(place)

    def unlabelled(self) -> Joined:
        return Joined(*(part.unlabelled() for part in self._parts))

    def _find(self, index: int) -> tuple[Split, int]:
        number = bisect_right(self._starts, index) - 1
        return self._parts[number], index - self._starts[number]
