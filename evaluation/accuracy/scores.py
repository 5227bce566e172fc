"""`Scores`: the confusion matrix of a candidate on each image of a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

MOST_CLASSES = 256
"""Most classes of a data set: label maps are uint8."""
MOST_PIXELS = 2**34
"""Largest count in one cell of one image's matrix, so that no sum over `MOST_CELLS` overflows int64."""
MOST_CELLS = 2**28
"""Most cells of a split's matrices, 2 GB: a file that states more is refused."""


class ScoresRecord(TypedDict):
    """The JSON of `Scores.to_dict`."""

    classes: int
    scored_classes: list[int]
    image_ids: list[str]
    label_prediction_pixels: list[list[int]] | list[list[list[int]]]
    """For each image label, prediction, pixels of each cell that is not 0; a list for each triple in old records."""


@dataclass(frozen=True)
class _ScoresTree:
    """`ScoresRecord` as a class, which pydantic reads."""

    classes: int
    scored_classes: list[int]
    image_ids: list[str]
    label_prediction_pixels: list[list[int]] | list[list[list[int]]]


@dataclass(frozen=True, eq=False)
class Scores:
    """Confusion of each image of a split, and every figure that follows from it.

    The per-image matrices are the only thing stored, so no two figures can disagree, and splits may be taken apart
    and put together again without loss.
    """

    image_ids: tuple[str, ...]
    """Names of the N images, each once."""
    confusions: npt.NDArray[np.int64]
    """int64 (N, classes, classes), pixels; row = label, column = prediction."""
    scored_classes: tuple[int, ...]
    """The one fixed set of classes the mean runs over, ascending: those that occur in the split's labels."""

    def __post_init__(self) -> None:
        shape, count = self.confusions.shape, len(self.image_ids)
        if self.confusions.dtype != np.int64 or len(shape) != 3 or shape[0] != count or shape[1] != shape[2]:
            raise ValueError(f"confusions must be int64 ({count}, C, C), got {self.confusions.dtype} {shape}")
        if len(set(self.image_ids)) != count:
            raise ValueError("an image id occurs twice")
        if list(self.scored_classes) != sorted(set(self.scored_classes) & set(range(shape[1]))):
            raise ValueError(f"scored_classes must ascend within 0..{shape[1] - 1}, got {self.scored_classes}")

    @classmethod
    def of(
        cls, image_ids: Iterable[str], confusions: npt.NDArray[np.int64], scored_classes: tuple[int, ...] | None = None
    ) -> Scores:
        """Scores of a split. Its scored classes are those in its labels unless given (part of a split keeps its
        set)."""
        if scored_classes is None:
            scored_classes = tuple(int(c) for c in np.flatnonzero(confusions.sum(axis=(0, 2))))
        return cls(tuple(image_ids), confusions, scored_classes)

    @property
    def classes(self) -> int:
        """Number of classes of the data set, scored or not."""
        return int(self.confusions.shape[1])

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """int64 (classes, classes), pixels of the whole split."""
        total: npt.NDArray[np.int64] = self.confusions.sum(axis=0)
        return total

    @cached_property
    def intersections(self) -> npt.NDArray[np.int64]:
        """int64 (N, classes), pixels that are the class in both label and prediction."""
        return np.diagonal(self.confusions, axis1=1, axis2=2).copy()

    @cached_property
    def label_pixels(self) -> npt.NDArray[np.int64]:
        """int64 (N, classes), pixels labelled as the class."""
        pixels: npt.NDArray[np.int64] = self.confusions.sum(axis=2)
        return pixels

    @cached_property
    def unions(self) -> npt.NDArray[np.int64]:
        """int64 (N, classes), pixels that are the class in label or prediction or both."""
        predicted: npt.NDArray[np.int64] = self.confusions.sum(axis=1)
        return self.label_pixels + predicted - self.intersections

    @cached_property
    def per_class_iou(self) -> npt.NDArray[np.float64]:
        """float64 (classes,), intersection over union on the whole split; NaN for a class that is not scored.

        A scored class that nobody labels or predicts (possible only where the set was given) has IoU 0, so that the
        mean's denominator never depends on the candidate.
        """
        iou = np.full(self.classes, np.nan)
        scored = list(self.scored_classes)
        unions = self.unions.sum(axis=0)[scored]
        iou[scored] = self.intersections.sum(axis=0)[scored] / np.maximum(unions, 1)
        return iou

    @cached_property
    def miou(self) -> float:
        """Mean of `per_class_iou` over the scored classes; NaN without any."""
        scored = self.per_class_iou[list(self.scored_classes)]
        return float(scored.mean()) if scored.size else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of scored pixels predicted right; NaN without any pixel."""
        pixels = int(self.confusion.sum())
        return int(np.trace(self.confusion)) / pixels if pixels else float("nan")

    def subset(self, image_ids: Iterable[str], scored_classes: tuple[int, ...] | None = None) -> Scores:
        """The named images, in the order named, as a split of their own (its own classes unless they are given)."""
        position = {name: index for index, name in enumerate(self.image_ids)}
        names = tuple(image_ids)
        missing = [name for name in names if name not in position]
        if missing:
            raise ValueError(f"image {missing[0]!r} was not scored")
        return Scores.of(names, self.confusions[[position[name] for name in names]], scored_classes)

    def merge(self, other: Scores) -> Scores:
        """Both splits as one; the scored classes are the union of theirs."""
        if self.classes != other.classes:
            raise ValueError(f"cannot merge scores of {self.classes} and {other.classes} classes")
        return Scores.of(
            self.image_ids + other.image_ids,
            np.concatenate([self.confusions, other.confusions]),
            tuple(sorted({*self.scored_classes, *other.scored_classes})),
        )

    def to_dict(self) -> ScoresRecord:
        """Plain JSON values that `from_dict` turns back without loss; zero counts are left out.

        Each image has one flat list, label, prediction, pixels, and so on: a list for each triple takes five times as
        long to read.
        """
        images, rows, columns = np.nonzero(self.confusions)
        triples = np.column_stack([rows, columns, self.confusions[images, rows, columns]])
        ends = np.searchsorted(images, np.arange(1, len(self.confusions)))
        cells = [part.ravel().tolist() for part in np.split(triples, ends)] if len(self.confusions) else []
        return {
            "classes": self.classes,
            "scored_classes": list(self.scored_classes),
            "image_ids": list(self.image_ids),
            "label_prediction_pixels": cells,
        }

    @classmethod
    def from_dict(cls, record: ScoresRecord) -> Scores:
        """The inverse of `to_dict`.

        Raises:
            ValueError: the lists are not those of a confusion per image: lengths that differ, a class out of range, a
                cell given twice, a count that is negative or beyond `MOST_PIXELS`.
        """
        classes, count = record["classes"], len(record["image_ids"])
        if not 0 <= classes <= MOST_CLASSES:
            raise ValueError(f"classes must be 0 to {MOST_CLASSES}, found {classes}")
        if count * classes * classes > MOST_CELLS:
            raise ValueError(f"{count} images of {classes} classes are more than {MOST_CELLS} cells")
        images = record["label_prediction_pixels"]
        if len(images) != count:
            raise ValueError(f"{count} images but the confusions of {len(images)}")
        # Records of before 2026-11-29 have a list for each triple; either way it is the same numbers in the same order.
        try:
            flat = [np.asarray(image, np.int64).ravel() for image in images]
        except OverflowError:
            raise ValueError(f"pixels of label_prediction_pixels must be 0 to {MOST_PIXELS}") from None
        lengths = np.array([len(cells) for cells in flat], np.int64)
        if (lengths % 3).any():
            raise ValueError("label_prediction_pixels must hold three numbers a cell: label, prediction, pixels")
        rows, columns, pixels = np.concatenate([*flat, np.empty(0, np.int64)]).reshape(-1, 3).T
        if len(rows):
            if min(rows.min(), columns.min()) < 0 or max(rows.max(), columns.max()) >= classes:
                raise ValueError(f"a label or prediction of label_prediction_pixels is not in 0..{classes - 1}")
            if pixels.min() < 0 or pixels.max() > MOST_PIXELS:
                raise ValueError(f"pixels of label_prediction_pixels must be 0 to {MOST_PIXELS}")
        cells = (np.repeat(np.arange(count), lengths // 3) * classes + rows) * classes + columns
        ordered = cells if (np.diff(cells) > 0).all() else np.sort(cells)
        if (np.diff(ordered) == 0).any():
            raise ValueError("a label and prediction occur twice in label_prediction_pixels of one image")
        confusions = np.zeros((count, classes, classes), np.int64)
        confusions.reshape(-1)[cells] = pixels
        return cls(tuple(record["image_ids"]), confusions, tuple(record["scored_classes"]))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """The pydantic schema of scores in JSON: the lists of `to_dict`, checked by `from_dict`."""
        from pydantic_core import core_schema  # imported where it is used: scoring needs no pydantic

        def checked(tree: _ScoresTree) -> Scores:
            return cls.from_dict(
                {
                    "classes": tree.classes,
                    "scored_classes": tree.scored_classes,
                    "image_ids": tree.image_ids,
                    "label_prediction_pixels": tree.label_prediction_pixels,
                }
            )

        return core_schema.no_info_after_validator_function(checked, handler(_ScoresTree))
