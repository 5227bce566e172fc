"""Training batches as a pure function of the step, made ahead of time by a background thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from deeplab.datasets import VOID, Split
from deeplab.training.augmentation import augment
from deeplab.training.config import AugmentationConfig

Batch = tuple[np.ndarray, np.ndarray]
"""Images uint8 (N, height, width, 3) and labels uint8 (N, height, width)."""


class Batches:
    """Call it with a step number for that step's batch; the same (seed, step) always gives the same one.

    Each epoch runs through the split once in an order of its own. Decoded images are kept up to `cache_bytes`.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        height: int,
        width: int,
        augmentation: AugmentationConfig,
        seed: int,
        cache_bytes: int = 0,
        whole: tuple[int, int] | None = None,
    ) -> None:
        """`height` and `width` are the batch's; `whole` the network's own size, where that is another one."""
        self._split, self._batch_size, self._size = split, batch_size, (height, width)
        self._whole = whole
        self._augmentation, self._seed = augmentation, seed
        self._cache: dict[int, Batch] = {}
        self._cache_left = cache_bytes

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, 1, step])
        views = [
            augment(*self._image(index), *self._size, self._augmentation, rng, self._whole)
            for index in (self._index(step * self._batch_size + place) for place in range(self._batch_size))
        ]
        return np.stack([image for image, _ in views]), np.stack([label for _, label in views])

    def _index(self, position: int) -> int:
        """Index of the image at a position of the endless sequence of epochs."""
        epoch, place = divmod(position, len(self._split))
        if getattr(self, "_epoch", None) != epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._split))
        return int(self._order[place])

    def _image(self, index: int) -> Batch:
        if index in self._cache:
            return self._cache[index]
        sample = self._split[index]
        pair = sample.image, sample.label
        size = sample.image.nbytes + sample.label.nbytes
        if size <= self._cache_left:
            self._cache[index] = pair
            self._cache_left -= size
        return pair


def ahead(batches: Batches, first: int, last: int, depth: int = 6) -> Iterator[Batch]:
    """Batches of the steps first .. last - 1, `depth` of them prepared while the network trains on the one before."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as worker:
        waiting: deque[Future[Batch]] = deque()
        try:
            for step in range(first, last):
                while len(waiting) < depth and step + len(waiting) < last:
                    waiting.append(worker.submit(batches, step + len(waiting)))
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def class_weights(split: Split, classes: int, kind: str, images: int = 400) -> np.ndarray:
    """Weight of each class in the loss, float32 (classes,), mean 1 over the classes that occur.

    A class's frequency is its share of the pixels of the images that contain it (Eigen & Fergus 2015, section 6.3.2),
    measured on at most `images` of the split. Classes that do not occur weigh 1.
    """
    if kind == "none":
        return np.ones(classes, np.float32)
    pixels, seen_in = np.zeros(classes), np.zeros(classes)
    for sample in split.take(images):
        counts = np.bincount(sample.label[sample.label != VOID].reshape(-1), minlength=classes)[:classes]
        pixels += counts
        seen_in += np.where(counts > 0, counts.sum(), 0)
    occurs = pixels > 0
    frequency = pixels[occurs] / seen_in[occurs]
    weights = np.ones(classes)
    weights[occurs] = np.median(frequency) / frequency
    if kind == "sqrt_median_frequency":
        weights[occurs] = np.sqrt(weights[occurs])
    weights[occurs] /= weights[occurs].mean()
    return weights.astype(np.float32)
