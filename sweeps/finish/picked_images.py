"""The selection of search images for the report."""

from __future__ import annotations

import numpy as np

from evaluation.accuracy import Scores


def pick_images(baseline: Scores, choice: Scores, rows: int) -> dict[int, str]:
    """Index -> note of the images to show: of lowest score, greatest loss, median and highest score, then the next
    lowest."""
    score, loss = image_miou(choice), image_miou(baseline) - image_miou(choice)
    order = np.argsort(score, kind="stable")
    named = [
        (order[0], "lowest score"),
        (np.argsort(-loss, kind="stable")[0], "greatest loss against the baseline"),
        (order[len(order) // 2], "median score"),
        (order[-1], "highest score"),
        *((index, "") for index in order),
    ]
    picked: dict[int, str] = {}
    for index, note in named:
        if len(picked) < rows:
            picked.setdefault(int(index), f"{note}: mIoU {score[index]:.2f}" if note else f"mIoU {score[index]:.2f}")
    return picked


def image_miou(scores: Scores) -> np.ndarray:
    """Mean IoU of each image over the scored classes in its label, float64 (N,); for display only."""
    scored = list(scores.scored_classes)
    present = scores.label_pixels[:, scored] > 0
    iou = scores.intersections[:, scored] / np.maximum(scores.unions[:, scored], 1)
    mean: np.ndarray = (iou * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return mean
