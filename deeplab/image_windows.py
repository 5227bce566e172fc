"""Images for calibration and fine-tuning: at the network's size, whole or as random windows, a batch a step."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from deeplab.datasets import Split
from evaluation.accuracy import to_label_size, to_network_size

_KEPT = 256


def frames(split: Split, height: int, width: int) -> np.ndarray:
    """All images of a split at the network's size: uint8 (N, height, width, 3)."""
    return np.stack([to_network_size(split.image(index), height, width) for index in range(len(split))])


class Read(NamedTuple):
    """Images at the network's size, and their labels where they are asked for."""

    images: np.ndarray
    """uint8 (N, height, width, 3)."""
    labels: np.ndarray | None
    """uint8 (N, height, width)."""

    def image(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        return self.images[index], None if self.labels is None else self.labels[index]


def read(split: Split, height: int, width: int, labelled: bool) -> Read:
    """All images of a split at the network's size; labels are resized by nearest neighbour."""
    if not labelled:
        return Read(frames(split, height, width), None)
    samples = [split.sample(index) for index in range(len(split))]
    labels = np.stack([to_label_size(sample.label, height, width) for sample in samples])
    return Read(np.stack([to_network_size(sample.image, height, width) for sample in samples]), labels)


class TrainingBatches:
    """Batches for fine-tuning: a pure function of (seed, step).

    Images are resized to the network's size (labels by nearest neighbour: training, unlike scoring, may resample
    them), flipped left to right half of the time, and cropped where a crop is asked for. The last 256 that were read
    are kept; `made` is all of `split` where it has been read already.
    """

    def __init__(
        self,
        split: Split,
        height: int,
        width: int,
        *,
        batch: int,
        crop: int | None,
        labelled: bool,
        seed: int,
        made: Read | None = None,
    ) -> None:
        self._split, self._batch, self._seed, self._labelled = split, batch, seed, labelled
        self._size = (height, width)
        self._crop = (min(crop, height), min(crop, width)) if crop else self._size
        self._load = lru_cache(maxsize=_KEPT)(self._read) if made is None else made.image

    def preload(self) -> None:
        """Read all images, where all of them are kept."""
        if len(self._split) <= _KEPT:
            for index in range(len(self._split)):
                self._load(index)

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        if not self._labelled:
            return to_network_size(self._split.image(index), *self._size), None
        sample = self._split.sample(index)
        return to_network_size(sample.image, *self._size), to_label_size(sample.label, *self._size)

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray | None]:
        random = np.random.default_rng([self._seed, step])
        chosen = random.choice(len(self._split), self._batch, replace=self._batch > len(self._split))
        images, labels = [], []
        for index in chosen:
            image, label = self._load(int(index))
            top = int(random.integers(self._size[0] - self._crop[0] + 1))
            left = int(random.integers(self._size[1] - self._crop[1] + 1))
            window = (slice(top, top + self._crop[0]), slice(left, left + self._crop[1]))
            direction = -1 if random.random() < 0.5 else 1
            images.append(image[window][:, ::direction])
            if label is not None:
                labels.append(label[window][:, ::direction])
        return np.stack(images), np.stack(labels) if labels else None
