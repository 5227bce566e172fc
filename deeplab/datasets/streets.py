"""`streets`: an endless supply of small street scenes with exact labels, made by the program itself.

Nothing is downloaded and nothing is licensed, so the default study runs anywhere. The scenes hold what makes real
street images hard for a compressed network: thin poles, small people, occlusion, colours that classes share, shade,
dusk, haze, blur and sensor noise.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Annotated

import numpy as np
from pydantic import Field

from deeplab.datasets.interface import Dataset, Sample, Split
from deeplab.datasets.options import DatasetKind, DefaultSplits, Options
from deeplab.streets import generator_digest
from deeplab.streets.classes import CLASS_NAMES
from deeplab.streets.scene import render

SPLITS = {"train": (0, 6000), "val": (1, 200), "search": (2, 100), "heldout": (3, 100)}
"""Name -> (stream of the random generator, images): streams never meet, so splits are disjoint by construction."""


KEPT_PIXELS = 2**17
"""Pixels of the largest image that is kept: 512 of them take 268 MB, 512 of 4096 x 4096 would take 34 GB."""


class StreetsSplit(Split):
    """Images by (seed, stream, index); made when asked for, the last ones kept."""

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
        draw = _image if self._height * self._width <= KEPT_PIXELS else _drawn
        image, label = draw(self._seed, self._stream, number, self._height, self._width)
        return Sample(f"{self._stream}-{number:05d}", image, label)

    def take(self, count: int) -> StreetsSplit:
        return StreetsSplit(self._stream, self._indices[:count], self._seed, self._height, self._width)

    def fingerprint(self) -> str:
        size = f"{self._height}x{self._width}"
        count = len(self._indices)
        return f"streets-{generator_digest()[:16]}-{size}-seed{self._seed}-stream{self._stream}-{count}"


def _drawn(seed: int, stream: int, index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    image, label = render(np.random.default_rng([seed, stream, index]), height, width)
    image.flags.writeable = label.flags.writeable = False
    return image, label


_image = lru_cache(maxsize=512)(_drawn)


class StreetsOptions(Options):
    """Options of `streets`."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the generator: the same seed gives the same images everywhere."""
    height: Annotated[int, Field(ge=32, le=4096)] = 96
    """Height of the images in pixels."""
    width: Annotated[int, Field(ge=32, le=4096)] = 128
    """Width of the images in pixels."""
    train_images: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Images in the split `train`. null: 6000."""


def open_streets(options: StreetsOptions) -> Dataset:
    """The generated data set. The same seed gives the same images everywhere."""
    sizes = {name: count for name, (_, count) in SPLITS.items()}
    if options.train_images is not None:
        sizes["train"] = options.train_images
    splits = {
        name: StreetsSplit(stream, range(sizes[name]), options.seed, options.height, options.width)
        for name, (stream, _) in SPLITS.items()
    }
    return Dataset("streets", CLASS_NAMES, splits)


STREETS = DatasetKind(open_streets, StreetsOptions, DefaultSplits("val", "heldout", "train"), is_generated=True)
