"""The scoring protocol: an image is resized to the network's size, and the prediction to the label's size, never the
label to the prediction's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from evaluation.accuracy.confusion import confusion_matrix
from evaluation.accuracy.scores import Scores
from evaluation.errors import UserError

Predict = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.integer[Any]]]
"""From images, uint8 (N, height, width, 3), to their classes, integers (N, h, w): argmax at the network's size."""
Sample = tuple[str, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""Image id; image, uint8 (H, W, 3); label, uint8 (H, W)."""


def to_network_size(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """An image, uint8 (H, W, 3), brought to (height, width, 3) by Pillow's bilinear filter, whatever its aspect."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def to_label_size(
    prediction: npt.NDArray[np.integer[Any]], label_height: int, label_width: int
) -> npt.NDArray[np.uint8]:
    """Resize predicted classes, integers (h, w) in 0..255, to uint8 (label_height, label_width), nearest neighbour."""
    if prediction.ndim != 2 or not np.issubdtype(prediction.dtype, np.integer):
        raise ValueError(f"a prediction must be integers (h, w), got {prediction.dtype} {prediction.shape}")
    if prediction.size and (prediction.min() < 0 or prediction.max() > 255):
        raise ValueError("a predicted class must be in 0..255")
    classes = prediction.astype(np.uint8)
    if classes.shape == (label_height, label_width):
        return classes
    return np.asarray(Image.fromarray(classes).resize((label_width, label_height), Image.Resampling.NEAREST))


def score_images(
    predict: Predict,
    samples: Iterable[Sample],
    classes: int,
    void: int | None,
    *,
    input_size: tuple[int, int] | None = None,
    batch_size: int = 1,
    scored_classes: tuple[int, ...] | None = None,
) -> Scores:
    """Score a network on images.

    Args:
        predict: see `Predict`.
        samples: see `Sample`; taken one batch at a time, so a generator keeps memory small.
        classes: number of classes.
        void: label value that is not scored, or None.
        input_size: (height, width) of the network, pixels, to which images are resized; None gives them as they are.
        batch_size: images in one call of `predict`, at most.
        scored_classes: the split's fixed set, where `samples` are only a part of the split.

    Raises:
        UserError: an image and its label differ in size, or a label or prediction is out of range; names the image.
    """
    image_ids: list[str] = []
    confusions: list[npt.NDArray[np.int64]] = []
    remaining = iter(samples)
    while batch := list(islice(remaining, batch_size)):
        for image_id, image, label in batch:
            if image.shape[:2] != label.shape:
                raise UserError(
                    f"{image_id}: the image is {_size(image)} but its label {_size(label)} (width x height); "
                    "both must have one size"
                )
        images = [image if input_size is None else to_network_size(image, *input_size) for _, image, _ in batch]
        predictions = np.asarray(predict(np.stack(images)))
        for (image_id, _, label), prediction in zip(batch, predictions, strict=True):
            try:
                matrix = confusion_matrix(label, to_label_size(prediction, *label.shape), classes, void)
            except UserError as error:
                raise UserError(f"{image_id}: {error}") from None
            image_ids.append(image_id)
            confusions.append(matrix)
    stacked = np.stack(confusions) if confusions else np.zeros((0, classes, classes), np.int64)
    return Scores.of(image_ids, stacked, scored_classes)


def _size(array: npt.NDArray[np.uint8]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
