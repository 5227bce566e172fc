"""`Scores`: the confusion matrix of a candidate on each image of a split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evaluation.accuracy.stored_scores import StoredScores, stored_cells

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


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

    def __getstate__(self) -> dict[str, object]:
        """The stored fields alone: pickling must not meet a figure that another thread computes meanwhile."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scores) and (
            (self.image_ids, self.scored_classes) == (other.image_ids, other.scored_classes)
            and np.array_equal(self.confusions, other.confusions)
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Scores], handler: GetCoreSchemaHandler) -> CoreSchema:
        """In JSON scores are `StoredScores`."""
        from pydantic_core import core_schema  # imported where it is used: scoring needs no pydantic

        def made(stored: StoredScores) -> Scores:
            return cls(tuple(stored.image_ids), stored.confusions(), tuple(stored.scored_classes))

        return core_schema.no_info_after_validator_function(
            made,
            handler(StoredScores),
            serialization=core_schema.plain_serializer_function_ser_schema(_stored),
        )


def _stored(scores: Scores) -> dict[str, object]:
    cells = stored_cells(scores.confusions)
    return vars(StoredScores(scores.classes, list(scores.scored_classes), list(scores.image_ids), cells))
