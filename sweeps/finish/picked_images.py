"""The search images that a report shows."""

from __future__ import annotations

import numpy as np

from evaluation.accuracy import Scores


def pick_images(baseline: Scores, choice: Scores, rows: int) -> dict[int, str]:
    """Which images to show, by index, and why: the choice's worst, its greatest loss, then an even spread."""
    score, loss = image_miou(choice), image_miou(baseline) - image_miou(choice)
    order = np.argsort(score, kind="stable")
    named = [
        (order[0], "lowest score of the choice"),
        (np.argsort(-loss, kind="stable")[0], "greatest loss against the baseline"),
        (order[len(order) // 2], "median score of the choice"),
        (order[-1], "highest score of the choice"),
        *((index, "") for index in order),
    ]
    picked: dict[int, str] = {}
    for index, note in named:
        if len(picked) < rows:
            picked.setdefault(int(index), f"{note}: mIoU {score[index]:.2f}" if note else f"mIoU {score[index]:.2f}")
    return picked


def image_miou(scores: Scores) -> np.ndarray:
    """float64 (N,): each image's mean IoU over the scored classes in its own label; to show, never to rank by."""
    scored = list(scores.scored_classes)
    present = scores.label_pixels[:, scored] > 0
    iou = scores.intersections[:, scored] / np.maximum(scores.unions[:, scored], 1)
    mean: np.ndarray = (iou * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return mean
