"""The stages a candidate passes through, each answered from the cache where it was computed before.

baseline -> prune + fine-tune -> calibrate -> quantise -> score
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict

import numpy as np

from deeplab.calibration import calibrate
from deeplab.checkpoint import Checkpoint, checkpoint_bytes, parse_checkpoint
from deeplab.compression import Compression
from deeplab.datasets import Split
from deeplab.finetuning import FineTuning, fine_tune
from deeplab.pruning.channels import prune_channels
from deeplab.pruning.magnitude import prune_magnitude
from deeplab.quantization import QuantizedNetwork, Range, quantize
from deeplab.simulation import simulator
from evaluation.accuracy import Scores, score_pictures, squash
from evaluation.executor import execute
from evaluation.graph import Graph
from evaluation.planner import Plan
from sweeps.cache import digest
from sweeps.context import Context
from sweeps.narrowing import channels_left, narrowing_parts
from sweeps.pictures import TrainingBatches

# Raise one when the code of its stage computes something else: entries of the older code are then not found.
_PRUNE_VERSION = 3
_CALIBRATE_VERSION = 1
_SCORE_VERSION = 2

Network = Checkpoint | QuantizedNetwork


def compressed(compression: Compression, context: Context) -> Network:
    """The candidate's network: pruned, fine-tuned, quantised."""
    checkpoint = _pruned(compression, context)
    if compression.is_float:
        return checkpoint
    with context.timed("calibrate"):
        ranges = _ranges(checkpoint, context)
    with context.timed("quantise"):
        return quantize(checkpoint, ranges, compression.bits)


def _pruned(compression: Compression, context: Context) -> Checkpoint:
    if compression.sparsity == 0.0:
        return context.baseline
    options = context.config.finetune
    # Distillation learns from the calibration pictures, labels from the training pictures.
    source = "calibration" if options.loss == "distill" else "train"
    parts = {
        "network": context.fingerprints["network"],
        "pruning": compression.pruning,
        "sparsity": compression.sparsity,
        "channels": narrowing_parts(context) if compression.pruning == "channels" else None,
        "finetune": options.model_dump(mode="json"),
        "pictures": [context.fingerprints["calibration"], context.fingerprints[source] if options.steps else None],
        "seed": context.config.seed,
    }
    with context.timed("prune"):
        return context.cache.cached(
            "prune",
            _PRUNE_VERSION,
            parts,
            lambda: _prune(compression, context, getattr(context.pictures, source)),
            checkpoint_bytes,
            lambda content: parse_checkpoint(content, "stage cache"),
        )


def _prune(compression: Compression, context: Context, pictures: Split) -> Checkpoint:
    options, spec = context.config.finetune, context.baseline.spec
    structured = compression.pruning == "channels"
    start = context.baseline
    if structured:
        start = prune_channels(start, channels_left(compression, context), context.baseline_inputs)
    batches = TrainingBatches(
        pictures,
        spec.input_height,
        spec.input_width,
        batch=options.batch,
        crop=options.crop,
        labelled=options.loss == "labels",
        seed=context.config.seed,
    )
    tuned = fine_tune(
        start,
        batches,
        FineTuning(options.steps, options.learning_rate, options.loss),
        teacher=context.baseline,
        magnitude_sparsity=0.0 if structured else compression.sparsity,
    )
    return tuned if structured else prune_magnitude(tuned, compression.sparsity)


def _ranges(checkpoint: Checkpoint, context: Context) -> dict[str, Range]:
    parts = {"network": checkpoint.fingerprint(), "pictures": context.fingerprints["calibration"]}
    return context.cache.cached(
        "calibrate",
        _CALIBRATE_VERSION,
        parts,
        lambda: calibrate(checkpoint, context.calibration_frames),
        _ranges_bytes,
        _parse_ranges,
    )


def scores(network: Network, context: Context, use: str) -> Scores:
    """Scores of a network on the pictures of one use, `search` or `heldout`."""
    parts = {"network": _identity(network), "pictures": context.fingerprints[use]}
    return context.cache.cached(
        "score",
        _SCORE_VERSION,
        parts,
        lambda: score(network, context, getattr(context.pictures, use)),
        lambda found: json.dumps(found.to_dict()).encode(),
        lambda content: Scores.from_dict(json.loads(content)),
    )


def score(network: Network, context: Context, split: Split) -> Scores:
    """Scores of a network on any pictures, not cached."""
    dataset, runner = context.pictures.dataset, simulator(network.spec)
    return score_pictures(
        lambda pictures: runner.labels(network, pictures),
        ((sample.image_id, sample.image, sample.label) for sample in split),
        len(dataset.class_names),
        dataset.void,
        input_size=(network.spec.input_height, network.spec.input_width),
        batch_size=runner.batch_size,
    )


def label_agreement(network: Network, graph: Graph, planned: Plan, context: Context) -> float:
    """Share of one search picture's label pixels on which the accuracy path and the plan's execution agree.

    The plan really runs here, tile by tile in an arena of exactly its size, in the runtime's integer arithmetic.
    """
    spec = network.spec
    frame = squash(context.pictures.search.image(0), spec.input_height, spec.input_width)
    executed = execute(graph, planned, frame).output[0]
    return float(np.mean(executed == simulator(spec).labels(network, frame[None])[0]))


def _identity(network: Network) -> str:
    if isinstance(network, Checkpoint):
        return network.fingerprint()
    grids = {name: asdict(grid) for name, grid in network.activations.items()}
    return digest(network.spec.to_dict(), network.kernels, network.kernel_scales, network.biases, grids)


def parameters(network: Network) -> int:
    """Weights and biases, zeros included."""
    if isinstance(network, Checkpoint):
        return network.parameters
    return sum(array.size for arrays in (network.kernels, network.biases) for array in arrays.values())


def _ranges_bytes(ranges: dict[str, Range]) -> bytes:
    buffer = io.BytesIO()
    arrays = {}
    for name, seen in ranges.items():
        arrays[f"{name}:limits"] = np.array([seen.low, seen.high])
        arrays[f"{name}:sample"], arrays[f"{name}:mean"] = seen.sample, seen.channel_mean
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _parse_ranges(content: bytes) -> dict[str, Range]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        names = [name.removesuffix(":limits") for name in archive.files if name.endswith(":limits")]
        return {
            name: Range(*map(float, archive[f"{name}:limits"]), archive[f"{name}:sample"], archive[f"{name}:mean"])
            for name in names
        }
