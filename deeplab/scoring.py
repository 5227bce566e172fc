"""Scores of a network, float or quantized, on labelled images."""

from __future__ import annotations

from deeplab.checkpoint import Checkpoint
from deeplab.datasets import Dataset, Split
from deeplab.quantization import QuantizedNetwork
from deeplab.simulation import simulator
from evaluation.accuracy import Scores, score_images


def score(network: Checkpoint | QuantizedNetwork, dataset: Dataset, split: Split) -> Scores:
    """Scores by the protocol of `evaluation.accuracy`, in the runtime's arithmetic; `split` is one of `dataset`."""
    runner = simulator(network.spec)
    return score_images(
        lambda images: runner.labels(network, images),
        ((sample.image_id, sample.image, sample.label) for sample in split),
        len(dataset.class_names),
        dataset.void,
        input_size=(network.spec.input_height, network.spec.input_width),
        batch_size=runner.batch_size,
    )
