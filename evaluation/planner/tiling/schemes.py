"""The ways in which the planner tries to compute a section."""

from __future__ import annotations

import math
from typing import Literal

from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.planner.ir.plan_types import Halo
from evaluation.planner.tiling.section_costs import UNTILED, Manner

Tiling = Literal["cache", "recompute", "mixed"]
TileCount = int | Literal["auto"]

TILE_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Tile counts that are tried, up to the bound asked for; "auto" tries them all."""

_FEW = 16
"""More stripes than this always have a lead, and never compute a halo again, which would cost too many MACs."""
_LEAST_WITH_LEAD = 6
_LEADS = (1, 2, 4)
"""Leading stripes, for few, some and many stripes."""

_STRIPS = (2, 3, 4, 5, 6, 9, 12, 18)
"""Strips of columns, with halo columns computed again: for networks of microcontrollers, where a single row of every
layer is too much. Only "auto" tries them, and not on larger images: they cost the search seconds."""
_MOST_PIXELS_IN_STRIPS = 1 << 16
_FEW_ROWS = (1, 2, 3, 4, 5, 6, 8)
_MANY_ROWS = (9, 18, 36, 72)
"""Stripes of rows within strips."""


def manners(graph: Graph, tile_count: TileCount, tiling: Tiling) -> list[Manner]:
    """What may be tried for a section in at most `tile_count` tiles, `UNTILED` first. What a smaller count allows, a
    larger one allows too."""
    halos = {"cache": [Halo.CACHE], "recompute": [Halo.RECOMPUTE]}.get(tiling, [Halo.CACHE, Halo.RECOMPUTE, Halo.MIXED])
    in_strips = tile_count == "auto" and _largest_image(graph) <= _MOST_PIXELS_IN_STRIPS
    made = []
    for halo in halos:
        for count in TILE_LADDER[1:]:
            made += _stripes(count, halo, tile_count == "auto")
        if in_strips and halo is not Halo.MIXED:
            made += [manner for columns in _STRIPS for manner in _in_strips(columns, halo)]
    return [UNTILED, *(manner for manner in made if tile_count == "auto" or manner.tiles <= tile_count)]


def _stripes(count: int, halo: Halo, unbounded: bool) -> list[Manner]:
    lead = _LEADS[sum(count > few for few in (_FEW, 3 * _FEW))]
    made = [Manner(count, 1, halo)] if count <= _FEW else []
    if halo is not Halo.RECOMPUTE and count >= _LEAST_WITH_LEAD:
        made.append(Manner(count, 1, halo, lead))
        if unbounded and count > _FEW:
            made.append(Manner(count + lead, 1, halo, lead))
    return made


def _in_strips(columns: int, halo: Halo) -> list[Manner]:
    made = [Manner(rows, columns, halo) for rows in _FEW_ROWS]
    if halo is Halo.CACHE:
        return made + [Manner(rows + _LEADS[-1], columns, halo, _LEADS[-1]) for rows in _MANY_ROWS]
    return made + [Manner(rows, columns, halo) for rows in _MANY_ROWS[:2]]


def _largest_image(graph: Graph) -> int:
    """Rows times columns of the largest activation."""
    return max((math.prod(extent(tensor)[:2]) for tensor in graph.tensors if not tensor.is_constant), default=0)
