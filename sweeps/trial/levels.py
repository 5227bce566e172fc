"""A plan, from shapes alone, of every level of the space before any ranking or training.

One tile suffices: a tile count is an upper bound, so a network that can be planned in one tile can be in more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from deeplab.compression import Compression, compressed_shapes
from deeplab.network import structure
from deeplab.pruning.channel_budget import ROUND, narrowest
from deeplab.pruning.channels import narrowed
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner import Target, plan
from sweeps.config.schema import SweepConfig
from sweeps.config.space import BASELINE, Candidate
from sweeps.inputs.file_facts import facts_of, source_digest
from sweeps.storage.stage_cache import digest


def check_levels(config: SweepConfig, baseline: Graph, target: Target) -> None:
    """Plan each level of the space with the first levels of the other dimensions.

    Raises:
        UserError: a level cannot be planned, or channel pruning cannot reach a sparsity.
    """
    facts, name = facts_of(config), _name(config, baseline, target)
    if name in facts.passed([name]):
        return

    def peak_bytes(network: Graph, compression: Compression, tile_count: int = 1) -> int:
        graph = compressed_shapes(network, compression)
        return plan(graph, tile_count, target, max_mac_overhead=config.max_mac_overhead).peak_memory_bytes

    by_memory = config.channels.allotment == "memory"
    levels = {candidate: key for key, candidate in _each_level(config)}
    for candidate, key in levels.items():
        compression, network = candidate.compression, baseline
        if compression.pruning == "channels" and not by_memory:
            network = narrowed(network, compression.sparsity)
        try:
            peak_bytes(network, compression)
        except UserError as error:
            raise UserError(f"{key}: {candidate} cannot be planned: {error}") from None
    if by_memory and config.space.prunes_channels:
        reference = config.channels
        compression = Compression(weight_bits=reference.bits, activation_bits=reference.bits)
        whole, least = (
            peak_bytes(network, compression, reference.tile_count) for network in (baseline, narrowest(baseline))
        )
        _check_sparsity(config, 1.0 - least / whole)
    facts.save_passed({name: b""})


def _name(config: SweepConfig, baseline: Graph, target: Target) -> str:
    """Name of this check; it depends on all inputs of the check and on the planner's source."""
    source = source_digest("evaluation.planner", "evaluation.graph", "deeplab.pruning", "deeplab.quantization")
    shape = structure(baseline)
    settings = config.space.model_dump_json(), config.channels.model_dump_json(), config.max_mac_overhead
    return f"levels-{digest(source, shape, settings, target)}"


def _each_level(config: SweepConfig) -> Iterator[tuple[str, Candidate]]:
    """The YAML key of each level, and a candidate with that level."""
    space = config.space.space()
    levels = {name: found for name, found in space.levels().items() if name != "tile_count"}
    first = {name: found[0] for name, found in levels.items()} | {"tile_count": 1}
    yield "network.source", BASELINE
    for name, found in levels.items():
        for level in space.weight_bits if name == "weight_bits" else found:
            # A method removes nothing at sparsity 0, so each is planned at the highest level.
            changes = {"sparsity": space.sparsity[-1]} if name == "pruning" else {}
            yield f"space.{name}", space.candidate(**first | {name: level} | changes)


def _check_sparsity(config: SweepConfig, most: float) -> None:
    """Check sparsities against `most`, the saving at the end of the pruning path; a step before may save slightly
    more."""
    beyond = [level for level in config.space.sparsity if level > most + ROUND]
    if beyond:
        reference = config.channels
        named = ", ".join(map(str, sorted(beyond)))  # unrounded: 0.999999999 is not 1
        raise UserError(
            f"space.sparsity: {named} cannot be reached: pruning channels saves at most "
            f"{math.floor(1000 * most) / 10:g} % of this network's peak memory (channels.bits {reference.bits}, "
            f"channels.tile_count {reference.tile_count}); keep to levels up to {math.floor(100 * most) / 100:g}, or "
            "set channels.allotment to uniform, where a sparsity is a share of the channels"
        )
