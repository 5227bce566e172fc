"""Scores of a network, float or quantized, on labelled images: those of its C program."""

from __future__ import annotations

from deeplab.datasets import Dataset, Split
from deeplab.inference import Runner, runner_of
from evaluation.accuracy import Scores, score_images
from evaluation.graph import Graph
from evaluation.graph.regions import extent


def score(network: Graph, dataset: Dataset, split: Split) -> Scores:
    """Scores of a network by its untiled program; `split` is one of `dataset`."""
    return score_program(runner_of(network), dataset, split)


def score_program(runner: Runner, dataset: Dataset, split: Split) -> Scores:
    """Scores by the protocol of `evaluation.accuracy`; `split` is one of `dataset`."""
    graph = runner.program.graph
    rows, columns, _ = extent(graph.tensors[graph.inputs[0]])
    return score_images(
        runner.labels,
        ((sample.image_id, sample.image, sample.label) for sample in split),
        len(dataset.class_names),
        dataset.void,
        input_size=(rows, columns),
        batch_size=runner.threads,
    )
