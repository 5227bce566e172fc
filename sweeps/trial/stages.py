"""The stages of a candidate, each cached.

baseline -> prune + fine-tune -> equalize, calibrate -> quantize, round -> score
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from deeplab.calibration import calibrate
from deeplab.checkpoint import checkpoint_bytes, parse_network
from deeplab.compression import Compression, compressed_shapes
from deeplab.datasets import Split
from deeplab.datasets.part import DatasetPart
from deeplab.inference import Runner
from deeplab.network import fingerprint, states_parameters, without_stated_parameters
from deeplab.pruning.channels import prune_channels
from deeplab.quantization import ActivationQuantization, BitWidths, Clipping, Range, activation_parameters
from deeplab.quantization.camera import for_integers
from deeplab.quantization.equalisation import equalize
from deeplab.quantization.post_training import round_to_nearest
from deeplab.runtime.loaded_program import arena_faults
from deeplab.runtime.proof import BrokenProgramError
from deeplab.scoring import score_program
from evaluation.accuracy import Scores, to_network_size
from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.json_codec import from_json, to_json
from evaluation.planner import Plan
from reports.record import Early
from sweeps.inputs.fingerprints import NETWORK
from sweeps.trial.baseline import baseline_fisher, baseline_inputs
from sweeps.trial.channel_pruning import channel_pruning_parts, channels_left
from sweeps.trial.context import Context
from sweeps.trial.plan_cache import cached_plan
from sweeps.trial.roundings import rounded
from sweeps.trial.screening import InterimCheck, interim_checks

_Activations = dict[int, ActivationQuantization]


@dataclass(frozen=True)
class Shipped:
    """A candidate as it is shipped: its network and its plan."""

    graph: Graph
    """Float or integer, named as the study."""
    plan: Plan

    @cached_property
    def runner(self) -> Runner:
        """Its program, in the planned arena."""
        return Runner(self.graph, self.plan)


def shipped(compression: Compression, tile_count: int, context: Context) -> Shipped:
    """A candidate's network and plan."""
    return shipped_as(compressed(compression, context), tile_count, context)


def shipped_as(network: Graph, tile_count: int, context: Context) -> Shipped:
    """A network with its plan."""
    graph = replace(network, name=context.config.study)
    with context.timed("plan"):
        return Shipped(graph, plan_of(graph, tile_count, context))


def compressed(compression: Compression, context: Context) -> Graph:
    """The candidate's network: pruned, fine-tuned, quantized."""
    network, options = _pruned(compression, context), context.config.quantization
    if compression.is_float:
        return without_stated_parameters(network)
    bits = context.with_fixed_bits(compression).bits
    assert bits is not None, "a float network has been returned"
    network = for_integers(network, bits.activations)
    with context.timed("calibrate"):
        if options.equalize and not states_parameters(network):
            network = equalize(network, _ranges(network, context))
        ranges = _ranges(network, context)
    with context.timed("quantize"):
        nearest = round_to_nearest(network, ranges, _activations(network, ranges, bits, context), bits)
        return rounded(network, nearest, context)


def _pruned(compression: Compression, context: Context) -> Graph:
    if compression.sparsity == 0.0:
        return context.baseline
    options = context.config.finetune
    learned = context.fingerprints[context.learns_from] if options.steps else None
    parts = {
        "network": context.fingerprints[NETWORK],
        "pruning": compression.pruning,
        "sparsity": compression.sparsity,
        "channels": channel_pruning_parts(context) if compression.pruning == "channels" else None,
        "finetune": options.model_dump(mode="json"),
        "images": [context.fingerprints["calibration"], learned],
        "seed": context.config.seed,
    }
    with context.timed("prune"):
        return context.cache.cached(
            "prune",
            parts,
            lambda: _prune(compression, context),
            checkpoint_bytes,
            parse_network,
        )


def _prune(compression: Compression, context: Context) -> Graph:
    # These load TensorFlow: seconds, for those who prune.
    from deeplab.finetuning import FineTuning, fine_tune
    from deeplab.pruning.optimal_brain_surgeon import prune_weights

    options, baseline = context.config.finetune, without_stated_parameters(context.baseline)
    tuning = FineTuning(options.steps, options.learning_rate, options.loss)
    if sparsity := compression.weight_sparsity:
        inputs, fisher = baseline_inputs(context), baseline_fisher(context)
        sparse = prune_weights(baseline, sparsity, context.calibration_frames, inputs, fisher)
        return fine_tune(sparse, context.batches, tuning, teacher=baseline, hold_zeros=True)
    narrow = prune_channels(baseline, channels_left(compression, context), baseline_inputs(context))
    return fine_tune(narrow, context.batches, tuning, teacher=baseline)


def _ranges(network: Graph, context: Context) -> dict[str, Range]:
    parts = {"network": fingerprint(network), "images": context.fingerprints["calibration"]}
    return context.cache.cached(
        "calibrate",
        parts,
        lambda: calibrate(network, context.calibration_frames),
        _ranges_bytes,
        _parse_ranges,
    )


def _activations(
    network: Graph, ranges: dict[str, Range], bits: BitWidths, context: Context
) -> dict[int, ActivationQuantization]:
    """Parameters of the activations, the same for all bits of weights."""
    options = context.config.quantization
    clipping = Clipping(options.clipping, options.percentile)
    parts = {
        "network": fingerprint(network),
        "images": context.fingerprints["calibration"],
        "bits": bits.by_activation(network),
        "clipping": clipping,
    }
    found: dict[int, ActivationQuantization] = context.cache.cached(
        "clip",
        parts,
        lambda: activation_parameters(network, ranges, bits, clipping),
        partial(to_json, _Activations),
        partial(from_json, _Activations),
    )
    return found


def scores(candidate: Shipped, context: Context, use: str) -> Scores:
    """Scores of a candidate on the images of one use, `search` or `heldout`."""
    found = scores_until(candidate, context, use, lambda *_: None)
    assert not isinstance(found, Early), "nothing stops it"
    return found


def scores_until(candidate: Shipped, context: Context, use: str, check: InterimCheck) -> Scores | Early:
    """Scores of a candidate with interim checks, one of which may end it. Each part is cached, so that scoring an ended
    network again continues there."""
    split: Split = getattr(context.images, use)
    whole: Scores | None = None
    ends = [*interim_checks(len(split)), len(split)]
    for start, end in itertools.pairwise([0, *ends]):
        part = _part_scores(candidate, context, use, start, end)
        whole = part if whole is None else whole.merge(part)
        if end < len(split) and (early := check(whole, len(split))) is not None:
            return early
    assert whole is not None, "there is one part at least"
    return whole


def _part_scores(candidate: Shipped, context: Context, use: str, start: int, end: int) -> Scores:
    parts = {"network": fingerprint(candidate.graph), "images": context.fingerprints[use], "part": [start, end]}
    found: Scores = context.cache.cached(
        "score",
        parts,
        lambda: score_program(
            candidate.runner, context.images.dataset, DatasetPart(getattr(context, use), range(start, end))
        ),
        partial(to_json, Scores),
        partial(from_json, Scores),
    )
    return found


def planned(network: Graph, compression: Compression, tile_count: int, context: Context) -> Plan:
    """Plan of a network before training, from shapes and bit-widths alone."""
    graph = replace(compressed_shapes(network, compression), name=context.config.study)
    return plan_of(graph, tile_count, context)


def plan_of(graph: Graph, tile_count: int, context: Context) -> Plan:
    """Plan of a graph for the study's target."""
    return cached_plan(graph, tile_count, context.target, context.config.max_mac_overhead, context.cache)


def check_arena(candidate: Shipped, context: Context) -> None:
    """Run a candidate's program on one search image with two patterns in its arena and the guards around it.

    Raises:
        BrokenProgramError: it does not use its arena to the last planned byte, writes outside of it, or its labels
            depend on what the arena held before.
    """
    rows, columns, _ = extent(candidate.graph.tensors[candidate.graph.inputs[0]])
    frame = to_network_size(context.images.search.image(0), rows, columns)
    if faults := arena_faults(candidate.plan, candidate.runner.program.arena_use(frame)):
        raise BrokenProgramError(f"the program is not within its plan: {'; '.join(faults)}")


def _ranges_bytes(ranges: dict[str, Range]) -> bytes:
    buffer = io.BytesIO()
    arrays = {}
    for name, seen in ranges.items():
        arrays[f"{name}:limits"] = np.stack([seen.channel_low, seen.channel_high])
        arrays[f"{name}:sample"], arrays[f"{name}:mean"] = seen.sample, seen.channel_mean
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _parse_ranges(content: bytes) -> dict[str, Range]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        names = [name.removesuffix(":limits") for name in archive.files if name.endswith(":limits")]
        found = {}
        for name in names:
            low, high = archive[f"{name}:limits"]
            found[name] = Range(low, high, archive[f"{name}:sample"], archive[f"{name}:mean"])
        return found
