"""Segmentation accuracy: one int64 confusion matrix, the mean over one fixed set of classes, intervals over images."""

from evaluation.accuracy.confusion import confusion_matrix
from evaluation.accuracy.interval import (
    Interval,
    bootstrap_interval,
    image_weights,
    paired_difference_interval,
    resampled_mious,
)
from evaluation.accuracy.protocol import Predict, Sample, score_pictures, squash, to_label_size
from evaluation.accuracy.scores import Scores

__all__ = [
    "Interval",
    "Predict",
    "Sample",
    "Scores",
    "bootstrap_interval",
    "confusion_matrix",
    "image_weights",
    "paired_difference_interval",
    "resampled_mious",
    "score_pictures",
    "squash",
    "to_label_size",
]
