"""Segmentation accuracy: one int64 confusion matrix, the mean over one fixed set of classes, intervals over images."""

from evaluation.accuracy.confusion import confusion_matrix
from evaluation.accuracy.interval import (
    LEAST_IMAGES,
    UNRELIABLE,
    UNRELIABLE_NOTE,
    Interval,
    bootstrap_interval,
    enough_images,
    image_weights,
    paired_difference_interval,
    resampled_mious,
)
from evaluation.accuracy.protocol import Predict, Sample, score_images, to_label_size, to_network_size
from evaluation.accuracy.scores import Scores

__all__ = [
    "LEAST_IMAGES",
    "UNRELIABLE",
    "UNRELIABLE_NOTE",
    "Interval",
    "Predict",
    "Sample",
    "Scores",
    "bootstrap_interval",
    "confusion_matrix",
    "enough_images",
    "image_weights",
    "paired_difference_interval",
    "resampled_mious",
    "score_images",
    "to_label_size",
    "to_network_size",
]
