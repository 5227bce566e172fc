"""`StoredScores`: the confusion matrices of a split as JSON holds them, as lists of the cells that are not 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_CLASSES = 256
"""Most classes of a data set: label maps are uint8."""
MOST_PIXELS = 2**34
"""Largest count in one cell of one image's matrix, so that no sum over `MOST_CELLS` overflows int64."""
MOST_CELLS = 2**28
"""Most cells of a split's matrices, 2 GB: a file that states more is refused."""


@dataclass(frozen=True)
class StoredScores:
    """`Scores` in JSON. Each image has one flat list: a list for each triple takes five times as long to read."""

    classes: int
    scored_classes: list[int]
    image_ids: list[str]
    label_prediction_pixels: list[list[int]] | list[list[list[int]]]
    """For each image label, prediction and pixels of each cell, one after the other, the cells in order; a list for
    each triple in records of before 2026-11-29."""

    def confusions(self) -> npt.NDArray[np.int64]:
        """int64 (N, classes, classes), pixels; row = label, column = prediction.

        Raises:
            ValueError: the lists are not those of a confusion per image: lengths that differ, a class out of range, a
                cell given twice, a count that is negative or beyond `MOST_PIXELS`.
        """
        classes, count, images = self.classes, len(self.image_ids), self.label_prediction_pixels
        if not 0 <= classes <= MOST_CLASSES:
            raise ValueError(f"classes must be 0 to {MOST_CLASSES}, found {classes}")
        if count * classes * classes > MOST_CELLS:
            raise ValueError(f"{count} images of {classes} classes are more than {MOST_CELLS} cells")
        if len(images) != count:
            raise ValueError(f"{count} images but the confusions of {len(images)}")
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
        return confusions


def stored_cells(confusions: npt.NDArray[np.int64]) -> list[list[int]]:
    """`label_prediction_pixels` of int64 (N, classes, classes); zero counts are left out."""
    images, rows, columns = np.nonzero(confusions)
    triples = np.column_stack([rows, columns, confusions[images, rows, columns]])
    ends = np.searchsorted(images, np.arange(1, len(confusions)))
    return [part.ravel().tolist() for part in np.split(triples, ends)] if len(confusions) else []
