"""Plans from the stage cache, shared by all graphs that are equal to the planner."""

from __future__ import annotations

from evaluation.graph import Graph
from evaluation.kernels.contract import kernel_calls
from evaluation.planner import Plan, Target, plan, plan_cache_key, with_weights_of
from evaluation.planner.cost.accounting import stack_bytes
from sweeps.storage.stage_cache import StageCache, digest


def cached_plan(graph: Graph, tile_count: int, target: Target, max_mac_overhead: float, cache: StageCache) -> Plan:
    """The plan of a graph, such as the one made before training where it is the same.

    Raises:
        UserError: the graph cannot be planned.
    """
    made = cache.cached(
        "plan",
        {
            "graph": digest(plan_cache_key(graph)),
            "tile_count": tile_count,
            "target": target,
            "stack_bytes": stack_bytes(graph, kernel_calls(graph), target),
            "max_mac_overhead": max_mac_overhead,
        },
        lambda: plan(graph, tile_count, target, max_mac_overhead=max_mac_overhead),
        lambda made: made.to_json().encode(),
        Plan.from_json,
    )
    return with_weights_of(made, graph, target)
