"""How many channels each group loses: where most memory is saved for the accuracy that goes.

The task is min sum(cost_g(removed_g)) such that, at every step of the plan, what is alive plus the weights fits. Only
steps near the peak bind, and several tie: thinning one of them alone saves nothing. So each step s gets a shadow price,
its share in a smooth maximum,

    price_s = exp(live_s / temperature) / sum over steps of exp(live / temperature),

and a channel is worth the bytes it holds at each step, times that step's price, plus its weights. As the highest steps
are thinned, prices move on to those that have come level: multiplicative weights for packing programs (Plotkin,
Shmoys & Tardos 1995). The planner is asked once a round for the true peak, which alone decides when a saving is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from deeplab.layers import weight_shapes
from deeplab.pruning.groups import ChannelGroup, channel_groups, channel_owners, with_widths
from deeplab.pruning.ranking import Ranking
from deeplab.spec import NetworkSpec
from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner import Plan

Planned = Callable[[NetworkSpec], tuple[Graph, Plan]]
"""The reference plan of a network of this spec: its graph, shapes only, and where everything lies."""

TEMPERATURE = 0.03
"""Of the arena: how far below the peak a step still counts."""
CHUNK = 16
"""A group loses this fraction of its original channels at a time."""
FLOOR = 8
"""A group keeps at least this fraction of its channels, and 4."""
ROUND = 1 / 128
"""Of the reference's peak memory: what a round is to save before the planner is asked again."""


@dataclass(frozen=True)
class PathStep:
    """How narrow the network is after some rounds, and what that is worth."""

    removed: tuple[tuple[str, int], ...]
    """(group, channels it has lost so far), each group once."""
    peak_memory_bytes: int
    """Of the reference plan."""
    cost: float
    """Importance lost so far, in the unit of the rankings."""


@dataclass(frozen=True)
class PruningPath:
    """One way from the whole network to the narrowest; every saving is a place on it, so more saving never brings a
    channel back."""

    rankings: tuple[Ranking, ...]
    steps: tuple[PathStep, ...]
    """The first removes nothing; no group ever gets wider."""

    @property
    def reference_bytes(self) -> int:
        return self.steps[0].peak_memory_bytes

    def step_for(self, saving: float) -> PathStep:
        """The first step whose peak memory is at least `saving` below the reference's.

        Raises:
            UserError: no step saves so much.
        """
        for step in self.steps:
            if step.peak_memory_bytes <= (1.0 - saving) * self.reference_bytes:
                return step
        most = 1.0 - min(step.peak_memory_bytes for step in self.steps) / self.reference_bytes
        raise UserError(
            f"pruning channels cannot save {100 * saving:.3g} % of the peak memory, at most {100 * most:.3g} %: "
            "lower space.sparsity"
        )


def keep_for(path: PruningPath, saving: float) -> dict[str, np.ndarray]:
    """Indices of the channels each group keeps, sorted, such that `saving` of the reference's peak memory is gone."""
    removed = dict(path.step_for(saving).removed)
    return {
        ranking.group: np.sort(np.array(ranking.order[removed[ranking.group] :], np.int64)) for ranking in path.rankings
    }


def pruning_path(
    spec: NetworkSpec,
    rankings: Mapping[str, Ranking],
    planned: Planned,
    *,
    weight_bytes: float = 1.0,
    until: float = 0.75,
    temperature: float = TEMPERATURE, chunk: int = CHUNK, floor: int = FLOOR,
) -> PruningPath:
    """From the whole network downwards, each time from the group that saves most for what it costs.

    Args:
        spec: the network.
        rankings: of every group.
        planned: the reference plan of a spec.
        weight_bytes: what a weight counts in memory: bits / 8, or 0 where weights lie in flash.
        until: saving at which the path may end.
    """
    groups = channel_groups(spec)
    removed = {group.name: 0 for group in groups}
    costs = {name: np.array(ranking.costs) for name, ranking in rankings.items()}
    chunks = {group.name: max(1, group.channels // chunk) for group in groups}
    floors = {group.name: min(group.channels, max(4, -(-group.channels // floor))) for group in groups}
    steps: list[PathStep] = []
    present = spec
    while True:
        graph, plan = planned(present)
        lost = sum(float(costs[name][:count].sum()) for name, count in removed.items())
        steps.append(PathStep(tuple(removed.items()), plan.peak_memory_bytes, lost))
        worth = _worth(present, graph, plan, temperature, weight_bytes)
        if plan.peak_memory_bytes <= (1.0 - until) * steps[0].peak_memory_bytes:
            break
        saved = 0.0
        while saved < ROUND * steps[0].peak_memory_bytes:
            best, most = None, 0.0
            for group in groups:
                name, start = group.name, removed[group.name]
                count = min(chunks[name], group.channels - floors[name] - start)
                if count <= 0:
                    continue
                price = worth[name] * count / max(float(costs[name][start : start + count].sum()), 1e-30)
                if price > most:
                    best, most = (name, count), price
            if best is None:
                break
            removed[best[0]] += best[1]
            saved += worth[best[0]] * best[1]
        if saved == 0.0:
            break
        present = with_widths(
            spec, {writer: group.channels - removed[group.name] for group in groups for writer in group.writers}
        )
    return PruningPath(tuple(rankings[group.name] for group in groups), tuple(steps))


def _worth(spec: NetworkSpec, graph: Graph, plan: Plan, temperature: float, weight_bytes: float) -> dict[str, float]:
    """By group, bytes that one channel less is worth: at the steps near the peak, by their prices, and in weights."""
    owners = channel_owners(spec)
    live = np.array(plan.live_bytes, np.float64)
    prices = np.exp((live - live.max()) / (temperature * live.max()))
    prices = np.concatenate([[0.0], np.cumsum(prices / prices.sum())])
    worth = {group.name: weight_bytes * _weights_a_channel(spec, group) for group in channel_groups(spec)}
    for buffer in plan.buffers:
        runs = owners.get(graph.tensors[buffer.tensors[0]].name, ()) if buffer.tensors else ()
        width = sum(channels for _, channels in runs)
        alive = prices[buffer.upper] - prices[buffer.lower]
        for group in {group for group, _ in runs if group}:
            times = sum(1 for owner, _ in runs if owner == group)
            worth[group] += alive * times * buffer.size_bytes / width
    return worth


def _weights_a_channel(spec: NetworkSpec, group: ChannelGroup) -> float:
    """Weights that go with one channel; what belongs to an output (bias, multiplier, shift) counts as 9 of them."""
    shapes = weight_shapes(spec)
    own = sum(np.prod(shapes[f"{name}/kernel"][:3]) + 9 for name in group.writers)
    passed = sum(np.prod(shapes[f"{name}/kernel"][:2]) + 9 for name in group.depthwise)
    return float(own + passed + sum(shapes[f"{name}/kernel"][3] for name, _ in group.readers))
