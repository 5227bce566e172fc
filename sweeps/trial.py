"""One trial: from a candidate to its measurement. What a worker process answers.

Pure functions of candidate and context: any process, on any machine that sees the same files, gives the same answer.
Candidates that differ in tiles only share everything but the plan.
"""

from __future__ import annotations

import numpy as np

from deeplab.datasets.palette import palette
from deeplab.lowering import lower, lower_untrained
from deeplab.scoring import score
from deeplab.simulation import simulator
from evaluation.accuracy import Scores, squash, to_label_size
from evaluation.graph import Graph
from evaluation.measurement import Cost, Execution, Measurement, MemoryFigures
from evaluation.planner import Plan, plan
from reports.record import DataSet
from sweeps import execution as programs
from sweeps.context import Context, open_context
from sweeps.narrowing import prepare_narrowing, pruned_spec
from sweeps.pictures import open_part
from sweeps.space import Candidate
from sweeps.stages import compressed, label_agreement, parameters, scores

__all__ = [
    "Context", "describe", "evaluate", "execution", "held_out", "import_check", "network_of", "open_context",
    "overlay", "picture", "plan_candidate", "prepare",
]  # fmt: skip


def prepare(context: Context) -> None:
    """Compute what all candidates that lose channels share, and read what they learn from into this process."""
    prepare_narrowing(context)
    if context.config.finetune.steps:
        context.batches.preload()


def plan_candidate(candidate: Candidate, context: Context) -> Plan:
    """The candidate's memory, before anything is trained: from shapes and bit-widths alone."""
    spec, compression = pruned_spec(candidate.compression, context), context.settled(candidate.compression)
    graph = lower_untrained(spec, compression, context.config.study)
    return _plan(graph, candidate, context)


def evaluate(candidate: Candidate, context: Context) -> Measurement:
    """Measure a candidate on the search pictures."""
    context.seconds = {}
    network = compressed(candidate.compression, context)
    with context.timed("score"):
        on_search = scores(network, context, "search")
    graph = lower(network, context.config.study)
    with context.timed("plan"):
        planned = _plan(graph, candidate, context)
    with context.timed("agreement"):
        agreement = label_agreement(network, graph, planned, context)
    with context.timed("latency"):
        latency = programs.latency(graph, planned, context)
    return Measurement(
        scores=on_search,
        memory=MemoryFigures.of_plan(planned),
        cost=Cost(planned.macs, planned.mac_overhead, parameters(network)),
        label_agreement=agreement,
        latency=latency,
        stage_seconds=dict(context.seconds),
    )


def held_out(candidate: Candidate, context: Context) -> Scores:
    """Scores on the held-out pictures. For the final front, once."""
    return scores(compressed(candidate.compression, context), context, "heldout")


def execution(candidate: Candidate, context: Context) -> Execution | str:
    """What the candidate's C program does; or why it was not run."""
    network = compressed(candidate.compression, context)
    graph = lower(network, context.config.study)
    return programs.execution(network, graph, _plan(graph, candidate, context), context)


def network_of(candidate: Candidate, context: Context) -> tuple[Graph, Plan]:
    """The candidate's network as it is shipped, and its plan."""
    graph = lower(compressed(candidate.compression, context), context.config.study)
    return graph, _plan(graph, candidate, context)


def import_check(context: Context) -> Scores:
    """Scores of the float network on `config.import_check.split`."""
    assert context.config.import_check is not None
    split = open_part(context.pictures.dataset, context.config.import_check.split)
    return score(context.baseline, context.pictures.dataset, split)


def describe(context: Context) -> DataSet:
    """What the report says about the pictures."""
    dataset = context.pictures.dataset
    return DataSet(
        name=dataset.name,
        class_names=dataset.class_names,
        palette=palette(dataset.class_names),
        search_pictures=len(context.pictures.search),
        heldout_pictures=len(context.pictures.heldout),
        fingerprints=context.fingerprints,
    )


def picture(context: Context, image_index: int) -> tuple[str, np.ndarray, np.ndarray]:
    """One search picture: (image id, uint8 (H, W, 3), label uint8 (H, W))."""
    sample = context.pictures.search.sample(image_index)
    return sample.image_id, sample.image, sample.label


def overlay(candidate: Candidate, context: Context, image_index: int) -> np.ndarray:
    """Classes the candidate predicts for one search picture, uint8 (H, W) at the label's size."""
    network = compressed(candidate.compression, context)
    sample = context.pictures.search.sample(image_index)
    spec = network.spec
    frame = squash(sample.image, spec.input_height, spec.input_width)
    return to_label_size(simulator(spec).labels(network, frame[None])[0], *sample.label.shape)


def _plan(graph: Graph, candidate: Candidate, context: Context) -> Plan:
    return plan(graph, candidate.tile_count, context.target, max_mac_overhead=context.config.max_mac_overhead)
