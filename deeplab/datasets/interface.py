"""The interface of every data set to the rest of the program: splits of images with label maps."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np

from evaluation.errors import UserError

VOID = 255
"""Label of pixels that are not scored."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its labels, at the size the data set ships it."""

    image_id: str
    image: np.ndarray
    """uint8 (H, W, 3), RGB."""
    label: np.ndarray
    """uint8 (H, W): class index, or VOID."""


class Split(Sequence[Sample]):
    """A fixed, ordered set of images; each is read when it is asked for.

    A kind of data set implements `image_ids`, `image`, `sample`, `take` and `fingerprint`, and `check` where it can.
    One that reads files implements `files` and `part_fingerprint`, too.
    """

    @property
    def image_ids(self) -> tuple[str, ...]:
        """One id per image, in order, unique within the data set."""
        raise NotImplementedError

    def image(self, index: int) -> np.ndarray:
        """The image alone, uint8 (H, W, 3): for calibration and distillation, where no label is needed."""
        raise NotImplementedError

    def sample(self, index: int) -> Sample:
        """Image and labels. Raises `UserError` naming the file that is missing or wrong."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise `UserError` for faults that are seen without decoding every image. By default nothing is checked."""

    def take(self, count: int) -> Split:
        """The first `count` images, or all where there are fewer."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """A hash of images and labels: of file names and bytes, or of generator version and seed."""
        raise NotImplementedError

    def part_fingerprint(self, indices: Sequence[int]) -> str:
        """`fingerprint` of the images at `indices` alone. Where images are files, no other file has a part in it."""
        if isinstance(indices, range):
            step = f":{indices.step}" if indices.step != 1 else ""
            text = f"{indices.start}:{indices.stop}{step}"
        else:
            text = ",".join(map(str, indices))
        return hashlib.sha256(f"{self.fingerprint()}[{text}]".encode()).hexdigest()

    def files(self, index: int) -> tuple[Path, ...]:
        """The files of one image: (image, mask), (image,) where it has no labels, () where images are generated."""
        return ()

    def unlabelled(self) -> Split:
        """The split for uses that need no label; masks in files then have no part in its fingerprint."""
        return self

    def __len__(self) -> int:
        return len(self.image_ids)

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(index) for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self.sample(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"split of {len(self)} images has no image {index}")
        return self.sample(index % len(self))


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named set of images with its classes and splits."""

    name: str
    class_names: tuple[str, ...]
    """Names of the classes, by label value."""
    _splits: Mapping[str, Split] = field(repr=False)
    void: int = VOID
    void_classes: tuple[int, ...] = ()
    """Classes that no label can be, ascending: a network may predict them, and they are never scored."""
    note: str = ""
    """Reason why a split is missing, for the message."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names that `split` takes."""
        return tuple(self._splits)

    def split(self, name: str) -> Split:
        """A split by name. Raises `UserError` for a name this data set has not, or a split without images."""
        if name not in self._splits:
            why = f"; {self.note}" if self.note else ""
            raise UserError(f"data set {self.name} has no split '{name}'{nearest(name, self.splits)}{why}")
        split = self._splits[name]
        if len(split) == 0:
            raise UserError(f"data set {self.name}: split '{name}' has no images; choose one of those that have")
        return split


def nearest(word: str, valid: Sequence[str]) -> str:
    """The end of an error line: the closest valid word, and all of them."""
    close = difflib.get_close_matches(word, valid, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return f"{hint} (valid: {', '.join(valid)})"
