"""The channel budget: groups lose channels where these free most memory for the accuracy that is lost.

The task: least sum of costs such that, at every step of the plan, the live buffers and the weights fit. Only steps near
the peak bind, and several tie there: lowering one of them alone saves nothing. So each step has a shadow price, its
share in a smooth maximum,

    price_s = exp(live_s / t) / sum over steps of exp(live / t),    t a small part of the arena,

and a channel is worth its bytes at each step times the step's price, and its weights. As the highest steps are lowered,
prices move on to those that have come level with them: multiplicative weights, as in the packing programs of Plotkin,
Shmoys & Tardos (1995). All this is read off one plan, so the planner is asked once a round, not once for each group;
and savings are counted by the true peak of its plans only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.compression import Compression, compressed_shapes
from deeplab.network import weight_shapes
from deeplab.pruning.channels import with_widths
from deeplab.pruning.groups import ChannelGroup, channel_groups, channel_owners
from deeplab.pruning.ranking import Ranking
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner import CAMERA, Plan, Target, plan
from evaluation.planner.plan import DEFAULT_MAX_MAC_OVERHEAD

Planned = Callable[[Graph], tuple[Graph, Plan]]
"""From a float network to the graph that is planned, shapes only, and its reference plan."""

TEMPERATURE = 0.03
"""t as a share of the fullest step: so far below it a step still counts."""
_CHUNK = 1 / 16
"""Share of a group's original channels that it loses at a time."""
_FLOOR = 1 / 8
"""Share of a group's original channels that it always keeps, and `_LEAST` of them."""
_LEAST = 4
ROUND = 1 / 128
"""Share of the reference's peak memory that a round is to save before the planner is asked again."""
_NO_COST = 1e-30
"""Used in place of a cost of 0: of chunks that cost nothing, the one that saves most is removed first."""


@dataclass(frozen=True)
class PathStep:
    """Channels removed and peak memory after some rounds."""

    removed: tuple[tuple[str, int], ...]
    """(group, channels it has lost so far), every group once."""
    peak_memory_bytes: int
    """Peak memory of the reference plan."""


@dataclass(frozen=True)
class PruningPath:
    """A sequence of networks from the whole one to the narrowest. Every saving is a step of it: more saving never
    brings a channel back."""

    rankings: tuple[Ranking, ...]
    steps: tuple[PathStep, ...]
    """Steps in order; the first has removed nothing."""

    @property
    def reference_bytes(self) -> int:
        """Peak memory of the whole network."""
        return self.steps[0].peak_memory_bytes

    def step_for(self, saving: float) -> PathStep:
        """The first step that saves `saving`, in [0, 1), of the reference's peak memory.

        Raises:
            UserError: no step does.
        """
        for step in self.steps:
            if step.peak_memory_bytes <= (1.0 - saving) * self.reference_bytes:
                return step
        most = 1.0 - min(step.peak_memory_bytes for step in self.steps) / self.reference_bytes
        raise UserError(
            f"pruning channels cannot save {100 * saving:.12g} % of the peak memory, only {100 * most:.3g} %; ask for "
            "a lower sparsity"
        )


def reference_plans(
    bits: int, tile_count: int, target: Target = CAMERA, max_mac_overhead: float = DEFAULT_MAX_MAC_OVERHEAD
) -> Planned:
    """Plans in `tile_count` tiles, at equal bits of weights and activations (32 = float)."""
    compression = Compression(weight_bits=bits, activation_bits=bits)

    def planned(network: Graph) -> tuple[Graph, Plan]:
        graph = compressed_shapes(network, compression)
        return graph, plan(graph, tile_count, target, max_mac_overhead=max_mac_overhead)

    return planned


def narrowest(network: Graph) -> Graph:
    """The network at the end of its pruning path, every group at its fewest channels. Needs no ranking."""
    return with_widths(network, {group.name: _floor(group) for group in channel_groups(network)})


def keep_for(path: PruningPath, saving: float) -> dict[str, np.ndarray]:
    """Group name -> sorted indices of the channels that stay when `saving` of the reference's peak memory is saved."""
    removed = dict(path.step_for(saving).removed)
    return {ranking.group: ranking.kept(removed[ranking.group]) for ranking in path.rankings}


def pruning_path(
    network: Graph, rankings: Mapping[str, Ranking], planned: Planned, *, weight_bytes: float, until: float = 1.0
) -> PruningPath:
    """The path from the whole network downwards, a chunk at a time of the group that saves most for the chunk's cost.

    Args:
        network: in float.
        rankings: of every group.
        planned: asked once a round.
        weight_bytes: memory of one weight, or 0 where weights are in flash.
        until: saving at which the path may end; by default it does where every group has reached its floor.
    """
    groups = channel_groups(network)
    removed = {group.name: 0 for group in groups}
    costs = {group.name: np.cumsum([0.0, *rankings[group.name].costs]) for group in groups}
    steps: list[PathStep] = []
    present = network
    while True:
        graph, reference = planned(present)
        steps.append(PathStep(tuple(removed.items()), reference.peak_memory_bytes))
        if reference.peak_memory_bytes <= (1.0 - until) * steps[0].peak_memory_bytes:
            break
        worth = channel_worth(present, graph, reference, weight_bytes)
        narrower = _narrower(groups, removed, costs, worth, ROUND * steps[0].peak_memory_bytes)
        if narrower == removed:
            break
        removed = narrower
        present = with_widths(network, {group.name: group.channels - removed[group.name] for group in groups})
    return PruningPath(tuple(rankings[group.name] for group in groups), tuple(steps))


def _narrower(
    groups: tuple[ChannelGroup, ...],
    removed: Mapping[str, int],
    costs: Mapping[str, np.ndarray],
    worth: Mapping[str, float],
    saving_bytes: float,
) -> dict[str, int]:
    """Channels removed after one more round: the best chunks until they are worth `saving_bytes`."""
    after, saved = dict(removed), 0.0
    while saved < saving_bytes:
        best, most, gain = None, 0.0, 0.0
        for group in groups:
            gone = after[group.name]
            chunk = min(_chunk(group), group.channels - _floor(group) - gone)
            if chunk > 0:
                saves, running = worth[group.name] * chunk, costs[group.name]
                value = saves / max(running[gone + chunk] - running[gone], _NO_COST)
                if value > most:
                    best, most, gain = (group.name, chunk), value, saves
        if best is None:
            break
        after[best[0]] += best[1]
        saved += gain
    return after


def _chunk(group: ChannelGroup) -> int:
    return max(1, int(group.channels * _CHUNK))


def _floor(group: ChannelGroup) -> int:
    return min(group.channels, max(_LEAST, int(group.channels * _FLOOR)))


def channel_worth(network: Graph, graph: Graph, plan: Plan, weight_bytes: float) -> dict[str, float]:
    """By group, the bytes that one channel is worth: of the steps near the plan's peak, and of its weights.

    Args:
        network: in float.
        graph: the graph of it that was planned.
        plan: its reference plan.
        weight_bytes: memory of one weight, or 0 where weights are in flash.
    """
    owners = channel_owners(network)
    live = np.array(plan.live_bytes, np.float64)
    prices = np.exp((live / live.max() - 1.0) / TEMPERATURE)
    before = np.concatenate([[0.0], np.cumsum(prices / prices.sum())])  # price of all steps before each
    worth = {group.name: weight_bytes * weights_a_channel(network, group) for group in channel_groups(network)}
    for buffer in plan.buffers:
        # A buffer has the channels of its first tensor. Scratch has none, and is small.
        runs = owners.get(graph.tensors[buffer.tensors[0]].name, ()) if buffer.tensors else ()
        width = sum(channels for _, channels in runs)
        for name, _ in runs:
            if name is not None:
                worth[name] += (before[buffer.upper] - before[buffer.lower]) * buffer.size_bytes / width
    return worth


def weights_a_channel(network: Graph, group: ChannelGroup) -> float:
    """Weights removed with one channel of a group: of its writers, depthwise convolutions and readers; no biases."""
    shapes = weight_shapes(network)
    written = sum(np.prod(shapes[f"{name}/kernel"][:3]) for name in group.writers)
    passed = sum(np.prod(shapes[f"{name}/kernel"][:2]) for name in group.depthwise)
    return float(written + passed + sum(shapes[f"{name}/kernel"][3] for name, _ in group.readers))
