"""The confusion matrix of one image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.errors import UserError


def confusion_matrix(
    label: npt.NDArray[np.integer[Any]], prediction: npt.NDArray[np.integer[Any]], classes: int, void: int | None
) -> npt.NDArray[np.int64]:
    """Count the pixels of each (label, prediction) pair; void pixels are dropped before anything else is read.

    Args:
        label: integers, any shape, in 0..classes-1 or equal to `void`.
        prediction: integers, same shape, in 0..classes-1 wherever the label is not void.
        classes: number of classes, the side of the matrix.
        void: label value that is not scored; None if the data set has none.

    Returns:
        int64 (classes, classes); row = label, column = prediction; the sum is the number of scored pixels.

    Raises:
        UserError: a scored label or prediction is outside 0..classes-1.
        ValueError: the shapes differ, or an array does not hold integers.
    """
    if label.shape != prediction.shape:
        raise ValueError(f"label {label.shape} and prediction {prediction.shape} differ in shape")
    for name, array in (("label", label), ("prediction", prediction)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} must hold integers, got {array.dtype}")
    # int64 before any arithmetic: row * classes + column overflows the uint8 that label files hold.
    rows = label.reshape(-1).astype(np.int64)
    columns = prediction.reshape(-1).astype(np.int64)
    if void is not None:
        scored = rows != void
        rows, columns = rows[scored], columns[scored]
    _check_range("label", rows, classes, void)
    _check_range("prediction", columns, classes, None)
    counts = np.bincount(rows * classes + columns, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def _check_range(name: str, values: npt.NDArray[np.int64], classes: int, void: int | None) -> None:
    outside = values[(values < 0) | (values >= classes)]
    if outside.size:
        allowed = f"0..{classes - 1}" + ("" if void is None else f" or void {void}")
        raise UserError(
            f"{name} {int(outside[0])} is out of range: expected {allowed}; "
            f"check the number of classes and the {name}'s encoding"
        )
