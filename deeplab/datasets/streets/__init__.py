"""`streets`: an endless supply of small street scenes with exact labels, made by the program itself.

Nothing is downloaded and nothing is licensed, so the default study runs anywhere. The scenes hold what makes real
street pictures hard for a compressed network: thin poles, small people, occlusion, colours that classes share, shade,
dusk, haze, blur and sensor noise.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import numpy as np

from deeplab.datasets.interface import Dataset, Sample, Split
from deeplab.datasets.streets.classes import CLASS_NAMES
from deeplab.datasets.streets.scene import render
from evaluation.errors import UserError

GENERATOR_VERSION = 1
"""Raised whenever the same (seed, split, index) would give another picture."""

SPLITS = {"train": (0, 6000), "val": (1, 200), "search": (2, 100), "heldout": (3, 100)}
"""Name -> (stream of the random generator, pictures): streams never meet, so splits are disjoint by construction."""


class StreetsSplit(Split):
    """Pictures by (seed, stream, index); made when asked for, the last ones kept."""

    def __init__(self, stream: int, indices: range, seed: int, height: int, width: int) -> None:
        self._stream, self._indices, self._seed = stream, indices, seed
        self._height, self._width = height, width

    @cached_property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(f"{self._stream}-{index:05d}" for index in self._indices)

    def image(self, index: int) -> np.ndarray:
        return self.sample(index).image

    def sample(self, index: int) -> Sample:
        number = self._indices[index]
        image, label = _picture(self._seed, self._stream, number, self._height, self._width)
        return Sample(f"{self._stream}-{number:05d}", image, label)

    def take(self, count: int) -> StreetsSplit:
        return StreetsSplit(self._stream, self._indices[:count], self._seed, self._height, self._width)

    def fingerprint(self) -> str:
        size = f"{self._height}x{self._width}"
        return f"streets-v{GENERATOR_VERSION}-{size}-seed{self._seed}-stream{self._stream}-{len(self._indices)}"


@lru_cache(maxsize=512)
def _picture(seed: int, stream: int, index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    image, label = render(np.random.default_rng([seed, stream, index]), height, width)
    image.flags.writeable = label.flags.writeable = False
    return image, label


def open_streets(*, seed: int = 0, height: int = 96, width: int = 128, train_pictures: int | None = None) -> Dataset:
    """The generated data set at a size of your choice. The same seed gives the same pictures everywhere.

    Raises:
        UserError: a size too small to draw a street in, or a negative seed.
    """
    if min(height, width) < 32:
        raise UserError(f"streets: height and width must be at least 32 pixels, got {height}x{width}")
    if seed < 0:
        raise UserError(f"streets: seed must be 0 or more, got {seed}")
    sizes = {name: count for name, (_, count) in SPLITS.items()}
    if train_pictures is not None:
        if train_pictures < 1:
            raise UserError(f"streets: train_pictures must be at least 1, got {train_pictures}")
        sizes["train"] = train_pictures
    splits = {
        name: StreetsSplit(stream, range(sizes[name]), seed, height, width) for name, (stream, _) in SPLITS.items()
    }
    return Dataset("streets", CLASS_NAMES, splits)
