"""One trial: from a candidate to its measurement. What a worker process answers.

Pure functions of candidate and context: any process, on any machine that sees the same files, gives the same answer.
Candidates that differ in tiles only share everything but the plan.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from deeplab.datasets.palette import palette
from deeplab.datasets.part import Kept, spread
from deeplab.lowering import lower
from deeplab.pyfunc import NETWORK_FILE, saved_network
from deeplab.scoring import score
from deeplab.simulation import simulator
from deeplab.tflite_export import TFLITE_FILE, to_tflite
from evaluation.accuracy import Scores, to_label_size, to_network_size
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.measurement import Cost, Execution, Measurement, MemoryFigures
from evaluation.other_runtimes import survey
from evaluation.planner import Plan
from reports.record import DataSet, Early, OtherRuntimes
from sweeps.config.space import Candidate
from sweeps.inputs.splits import open_part
from sweeps.trial import c_program as programs
from sweeps.trial.channel_pruning import prepare_narrowing, pruned_spec
from sweeps.trial.context import Context, open_context
from sweeps.trial.stages import Stop, compressed, label_agreement, parameters, plan_of, planned, scores, scores_until

__all__ = [
    "Context",
    "describe",
    "evaluate",
    "execution",
    "held_out",
    "image",
    "import_check",
    "network_files",
    "network_of",
    "open_context",
    "other_runtimes",
    "outline",
    "overlay",
    "plan_candidate",
    "prepare",
    "require_inputs",
    "scoring_seconds",
]  # fmt: skip

TIMED_IMAGES = 8
"""Images by which the time of scoring is found."""


def require_inputs(context: Context, digests: Mapping[str, str]) -> None:
    """Raise `UserError` where this process reads another network, or other images, than the study is measured on: files
    that changed since it began, or that differ on this machine."""
    other = [use for use, found in context.fingerprints.items() if digests.get(use, found) != found]
    if other:
        raise UserError(
            f"a worker on {platform.node()} reads other inputs than those the study began with ({', '.join(other)}); "
            "put them back, and go on with --resume"
        )


def prepare(context: Context) -> None:
    """Compute what all candidates that lose channels share, and read what they learn from into this process."""
    prepare_narrowing(context)
    if context.config.finetune.steps:
        context.batches.preload()


def plan_candidate(candidate: Candidate, context: Context) -> Plan:
    """The candidate's memory, before anything is trained: from shapes and bit-widths alone."""
    spec, compression = pruned_spec(candidate.compression, context), context.settled(candidate.compression)
    return planned(spec, compression, candidate.tile_count, context)


def evaluate(candidate: Candidate, context: Context, stop: Stop = lambda *_: None) -> Measurement | Early:
    """Measure a candidate on the search images; `stop` looks at its scores on the way, and may end it."""
    context.seconds = {}
    network = compressed(candidate.compression, context)
    with context.timed("score"):
        on_search = scores_until(network, context, "search", stop)
    if isinstance(on_search, Early):
        return on_search
    graph = lower(network, context.config.study)
    with context.timed("plan"):
        made = plan_of(graph, candidate.tile_count, context)
    with context.timed("agreement"):
        agreement = label_agreement(network, graph, made, context)
    with context.timed("latency"):
        latency = programs.latency(network, graph, made, context)
    return Measurement(
        scores=on_search,
        memory=MemoryFigures.of_plan(made),
        cost=Cost(made.macs, made.mac_overhead, parameters(network)),
        label_agreement=agreement,
        latency=latency,
        stage_seconds=dict(context.seconds),
    )


def outline(candidate: Candidate, context: Context) -> Measurement:
    """Scores, memory and cost of a candidate; neither labels are compared nor programs compiled and timed."""
    network = compressed(candidate.compression, context)
    made = plan_of(lower(network, context.config.study), candidate.tile_count, context)
    cost = Cost(made.macs, made.mac_overhead, parameters(network))
    return Measurement(scores(network, context, "search"), MemoryFigures.of_plan(made), cost)


def held_out(candidate: Candidate, context: Context) -> Scores:
    """Scores on the held-out images. For the final front, once."""
    return scores(compressed(candidate.compression, context), context, "heldout")


def execution(candidate: Candidate, context: Context) -> Execution | str:
    """What the candidate's C program does; or why it was not run."""
    network = compressed(candidate.compression, context)
    graph = lower(network, context.config.study)
    return programs.execution(network, graph, plan_of(graph, candidate.tile_count, context), context)


def other_runtimes(candidate: Candidate, context: Context) -> OtherRuntimes:
    """What LiteRT and TFLM use for the candidate's network, each in a process of its own."""
    try:
        content = to_tflite(lower(compressed(candidate.compression, context), context.config.study))
    except UserError as error:
        return OtherRuntimes(None, (), str(error))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TFLITE_FILE
        path.write_bytes(content)
        return OtherRuntimes(len(content), survey(path).uses)


def network_files(candidate: Candidate, context: Context) -> dict[str, bytes]:
    """The candidate's network: as `deeplab.pyfunc` loads it, and as .tflite where that format can carry it."""
    network = compressed(candidate.compression, context)
    files = {NETWORK_FILE: saved_network(network)}
    with suppress(UserError):
        files[TFLITE_FILE] = to_tflite(lower(network, context.config.study))
    return files


def network_of(candidate: Candidate, context: Context) -> tuple[Graph, Plan]:
    """The candidate's network as it is shipped, and its plan."""
    network = compressed(candidate.compression, context)
    graph = lower(network, context.config.study)
    return graph, plan_of(graph, candidate.tile_count, context)


def import_check(context: Context) -> Scores:
    """Scores of the float network on `config.import_check.split`."""
    assert context.config.import_check is not None
    split = open_part(context.images.dataset, context.config.import_check.split)
    return score(context.baseline, context.images.dataset, split)


def scoring_seconds(context: Context) -> float:
    """Seconds that the float network takes to score a search image, by a few of them; what is slow only once, such as
    the compilation of its graph, is not in it."""
    some = spread(context.images.search, TIMED_IMAGES)
    few = Kept(some, list(some))
    score(context.baseline, context.images.dataset, few)
    begun = time.perf_counter()
    score(context.baseline, context.images.dataset, few)
    return (time.perf_counter() - begun) / len(few)


def describe(context: Context) -> DataSet:
    """What the report says about the images."""
    dataset = context.images.dataset
    return DataSet(
        name=dataset.name,
        class_names=dataset.class_names,
        palette=palette(dataset.class_names),
        search_images=len(context.images.search),
        heldout_images=len(context.images.heldout),
        fingerprints=context.fingerprints,
        search_classes=context.labelled_classes,
        void_classes=dataset.void_classes,
    )


def image(context: Context, image_index: int) -> tuple[str, np.ndarray, np.ndarray]:
    """One search image: (image id, uint8 (H, W, 3), label uint8 (H, W))."""
    sample = context.images.search.sample(image_index)
    return sample.image_id, sample.image, sample.label


def overlay(candidate: Candidate, context: Context, image_index: int) -> np.ndarray:
    """Classes the candidate predicts for one search image, uint8 (H, W) at the label's size."""
    network = compressed(candidate.compression, context)
    sample = context.images.search.sample(image_index)
    spec = network.spec
    frame = to_network_size(sample.image, spec.input_height, spec.input_width)
    return to_label_size(simulator(spec).labels(network, frame[None])[0], *sample.label.shape)
