"""Bootstrap intervals of the mean IoU over images, for one candidate and for the difference of two.

The weights are drawn as in the Bayesian bootstrap (Rubin 1981, Annals of Statistics 9:130): every image gets an
exponential weight instead of a multinomial count. The two agree but for a factor sqrt(n / (n + 1)) in the standard
deviation of a mean. The reason for the choice is the fixed set of classes: a multinomial resample often misses the few
images of a rare class, and then either its IoU is 0/0 and the class would have to be dropped (the mean then runs
over another set), or a single stray prediction turns it into 0. Here every image keeps a positive weight, so every
resample scores exactly the classes the split scores. Two candidates are compared under the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from evaluation.accuracy.scores import Scores

CONFIDENCE = 0.95
LEAST_IMAGES = round(1 / (1 - CONFIDENCE))
"""Images (20) below which an interval, or a share of resamples, is unreliable.

A 95 % interval is decided by what happens in one case of 1 / (1 - 0.95) = 20, and a smaller sample is expected to hold
less than one such image. The interval is too narrow there as well: of normally distributed scores it holds the true
mean in 54 % of all samples of 2 images, 84 % of 6 and 92 % of 20. This follows from Student's t distribution with n - 1
degrees of freedom, as the variance under these weights is (n - 1) / (n + 1) of the unbiased estimate (Hesterberg 2015,
"What Teachers Should Know About the Bootstrap", The American Statistician 69:371, calls it narrowness bias).
"""
UNRELIABLE = "\u2020"
"""The mark that follows an interval, or a share of resamples, of too few images, wherever it is shown."""
UNRELIABLE_NOTE = f"{UNRELIABLE} unreliable: from fewer than {LEAST_IMAGES} images"


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile interval."""

    estimate: float
    """The value on the split itself, not the mean of the resamples."""
    lower: float
    upper: float
    confidence: float
    images: int
    """Number of images that the interval is estimated from."""

    @property
    def is_reliable(self) -> bool:
        """Whether the interval is estimated from enough images: see `LEAST_IMAGES`."""
        return enough_images(self.images)

    @property
    def mark(self) -> str:
        """The mark shown behind the interval: `UNRELIABLE`, or an empty text."""
        return "" if self.is_reliable else UNRELIABLE


def enough_images(images: int) -> bool:
    """Whether intervals and shares of resamples of so many images are reliable: see `LEAST_IMAGES`."""
    return images >= LEAST_IMAGES


@lru_cache(maxsize=2)
def image_weights(images: int, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    """Positive weights, float64 (resamples, images), read-only, the same for equal arguments. IoU ignores their sum."""
    # U may be exactly 0, where the exponential weight would be too.
    uniform = np.random.default_rng(seed).random((resamples, images))
    weights = np.maximum(-np.log1p(-uniform), np.finfo(np.float64).tiny)
    weights.flags.writeable = False
    return weights


def resampled_mious(scores: Scores, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean IoU under each row of image weights, float64 (resamples, images) -> float64 (resamples,)."""
    scored = list(scores.scored_classes)
    intersections = weights @ scores.intersections[:, scored].astype(np.float64)
    unions = weights @ scores.unions[:, scored].astype(np.float64)
    # A union of 0 means the class occurs nowhere in the split (the set was given): IoU 0, as in `per_class_iou`.
    ious = np.divide(intersections, unions, out=np.zeros_like(unions), where=unions > 0)
    mious: npt.NDArray[np.float64] = ious.mean(axis=1)
    return mious


def bootstrap_interval(
    scores: Scores, resamples: int = 2000, confidence: float = CONFIDENCE, *, seed: int = 0
) -> Interval:
    """Percentile interval of the mean IoU over the choice of images."""
    _check(scores, resamples, confidence)
    mious = resampled_mious(scores, image_weights(len(scores.image_ids), resamples, seed))
    return _percentile(scores.miou, mious, confidence, len(scores.image_ids))


def paired_difference_interval(
    a: Scores, b: Scores, resamples: int = 2000, confidence: float = CONFIDENCE, *, seed: int = 0
) -> Interval:
    """Percentile interval of `a.miou - b.miou` for two candidates on the same images, both under the same weights.

    Raises:
        ValueError: the two were not scored on the same images, labels and classes.
    """
    _check(a, resamples, confidence)
    if sorted(a.image_ids) != sorted(b.image_ids) or a.scored_classes != b.scored_classes:
        raise ValueError("a paired interval needs the same images and scored classes on both sides")
    b = b.subset(a.image_ids, b.scored_classes)
    if not np.array_equal(a.label_pixels, b.label_pixels):
        raise ValueError("a paired interval needs the same labels on both sides")
    weights = image_weights(len(a.image_ids), resamples, seed)
    draws = resampled_mious(a, weights) - resampled_mious(b, weights)
    return _percentile(a.miou - b.miou, draws, confidence, len(a.image_ids))


def _check(scores: Scores, resamples: int, confidence: float) -> None:
    if not scores.image_ids or not scores.scored_classes:
        raise ValueError("an interval needs at least one image and one scored class")
    if resamples < 1 or not 0.0 < confidence < 1.0:
        raise ValueError(f"resamples must be at least 1 and confidence in (0, 1), got {resamples}, {confidence}")


def _percentile(estimate: float, draws: npt.NDArray[np.float64], confidence: float, images: int) -> Interval:
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(estimate, float(lower), float(upper), confidence, images)
