"""`plan`: from a graph to a validated memory plan.

The pieces, in order: `evaluation.kernels` (needs of each operator's kernel), `order` (the calls and their order), `ir`
(storages of the tensors), `tiling` (tiled sections of the network, their steps and buffers), `placement` (offsets of
the buffers), `cost` (the plan's figures), `search` (all of these together), `validate` (checks of the result).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from evaluation.errors import UserError
from evaluation.graph import Graph, Operator
from evaluation.kernels.targets import CAMERA, Target
from evaluation.kernels.weights import as_stored
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.search import Search
from evaluation.planner.tiling.path import SectionChoice
from evaluation.planner.tiling.schemes import TileCount, Tiling, schemes
from evaluation.planner.validate import validate

DEFAULT_MAX_MAC_OVERHEAD = 0.05
"""Rows kept in caches cost no MACs; this pays for a skip connection that is computed twice (1.5 % on DeepLab v3+)."""


def plan(
    graph: Graph,
    tile_count: TileCount = 1,
    target: Target = CAMERA,
    *,
    tiling: Tiling = "mixed",
    max_mac_overhead: float = DEFAULT_MAX_MAC_OVERHEAD,
) -> Plan:
    """The least memory found in which `graph` runs, computing each section in at most `tile_count` tiles.

    Memory never rises with `tile_count`: plans of a smaller bound of `schemes.TILE_LADDER` are considered again.
    Constants without values (`data=None`) are enough. The plan has passed the validator.

    Args:
        tile_count: a number, or "auto" for as many as it takes.
        tiling: "cache" keeps halo rows, "recompute" computes them again, "mixed" may do either, section by section.
        max_mac_overhead: how many MACs may be spent on computing things twice, as a share of the untiled network's.

    Raises:
        UserError: the graph holds an operator or tensor that cannot be planned, or an argument is out of range.
    """
    if tile_count != "auto" and (not isinstance(tile_count, int) or tile_count < 1):
        raise UserError(f'tile count must be at least 1, or "auto", got {tile_count!r}')
    if tiling not in get_args(Tiling):
        raise UserError(f"tiling must be one of {', '.join(get_args(Tiling))}, got {tiling!r}")
    if not max_mac_overhead >= 0:
        raise UserError(f"max_mac_overhead must be at least 0 (0.05 allows 5 % more MACs), got {max_mac_overhead}")
    _require_operators(graph)
    refuse_dynamic_range(graph)
    graph = as_stored(graph, target.name)
    search = Search(graph, target, max_mac_overhead)
    best = search.untiled()
    if tile_count != 1:
        best = search.tiled(best, schemes(graph, tile_count, tiling), patient=tile_count == "auto")
    best = replace(best, tiling=tiling, tile_count=best.tile_count if tile_count == "auto" else tile_count)
    validate(best, graph, target.alignment_bytes, target.label_bytes)
    return best


def plan_in_order(graph: Graph, target: Target = CAMERA) -> Plan:
    """An untiled plan whose calls run in the graph's own order, each a section, for a run that is looked into.

    Raises:
        UserError: the graph cannot be planned.
    """
    _require_operators(graph)
    graph = as_stored(graph, target.name)
    made = Search(graph, target, 0.0).in_graph_order()
    validate(made, graph, target.alignment_bytes, target.label_bytes)
    return made


def plan_sections(
    graph: Graph,
    choices: Sequence[SectionChoice],
    target: Target = CAMERA,
    *,
    tile_count: TileCount = "auto",
    max_mac_overhead: float = DEFAULT_MAX_MAC_OVERHEAD,
) -> Plan:
    """The best plan that begins with sections of the caller's choice, over the graph's own order of calls; the calls
    after them are split as `plan` would.

    Args:
        max_mac_overhead: budget of the sections that are not given.

    Raises:
        UserError: the graph cannot be planned.
        ValueError: the sections do not follow each other from the first call on.
    """
    _require_operators(graph)
    graph = as_stored(graph, target.name)
    made = Search(graph, target, max_mac_overhead).from_choices(choices, schemes(graph, tile_count, "mixed"))
    validate(made, graph, target.alignment_bytes, target.label_bytes)
    return made


def refuse_dynamic_range(graph: Graph) -> None:
    """Raise UserError where weights are quantized and activations are not, which no kernel here computes.

    TFLite calls this dynamic-range quantization: its kernels quantize each activation anew in every run.
    """
    for index, operator in enumerate(graph.operators):
        position = _WEIGHTS.get(operator.kind)
        if position is None or len(operator.inputs) <= position:
            continue
        weights = graph.tensors[operator.inputs[position]]
        if weights.is_constant and weights.dtype in ("int8", "uint8") and _is_float(graph, operator):
            raise UserError(
                f"{graph.name}: operator {index} ({operator.kind}) has float activations and {weights.dtype} weights "
                "(dynamic-range quantization), which is not planned or run; convert with a representative dataset "
                "(int8 throughout), or without quantization"
            )


_WEIGHTS = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1, "CONV_3D": 1,
}  # fmt: skip
"""Position of the weights among an operator's inputs."""


def _is_float(graph: Graph, operator: Operator) -> bool:
    return graph.tensors[operator.outputs[0]].dtype == "float32"


def _require_operators(graph: Graph) -> None:
    if not graph.operators:
        raise UserError(f"{graph.name}: has no operators, so there is nothing to plan")
