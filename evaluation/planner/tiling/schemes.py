"""The ways in which the planner tries to compute a section."""

from __future__ import annotations

import math
from typing import Literal

from evaluation.graph import Graph
from evaluation.graph.regions import extent
from evaluation.planner.ir.sections import Halo
from evaluation.planner.tiling.section_costs import UNTILED, TilingScheme

Tiling = Literal["cache", "recompute", "mixed"]
TileCount = int | Literal["auto"]

TILE_LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Tile counts that are tried, up to the bound asked for; "auto" tries them all."""

_FEW = 16
"""More row tiles than this always have a lead, and never compute a halo again, which would cost too many MACs."""
_LEAST_WITH_LEAD = 6
_LEADS = (1, 2, 4)
"""Leading row tiles, for few, some and many row tiles."""

_COLUMN_TILES = (2, 3, 4, 5, 6, 9, 12, 18)
"""Column tiles, with halo columns computed again: for networks of microcontrollers, where a single row of every
layer is too much. Only "auto" tries them, and not on larger images: they cost the search seconds."""
_MOST_PIXELS_IN_COLUMN_TILES = 1 << 16
_FEW_ROWS = (1, 2, 3, 4, 5, 6, 8)
_MANY_ROWS = (9, 18, 36, 72)
"""Rows per tile within column tiles."""


def schemes(graph: Graph, tile_count: TileCount, tiling: Tiling) -> list[TilingScheme]:
    """The schemes to try for a section in at most `tile_count` tiles, `UNTILED` first. Those of a smaller count are
    among those of a larger one."""
    halos = {"cache": [Halo.CACHE], "recompute": [Halo.RECOMPUTE]}.get(tiling, [Halo.CACHE, Halo.RECOMPUTE, Halo.MIXED])
    in_column_tiles = tile_count == "auto" and _largest_image(graph) <= _MOST_PIXELS_IN_COLUMN_TILES
    made = []
    for halo in halos:
        for count in TILE_LADDER[1:]:
            made += _row_tiles(count, halo, tile_count == "auto")
        if in_column_tiles and halo is not Halo.MIXED:
            made += [scheme for columns in _COLUMN_TILES for scheme in _in_column_tiles(columns, halo)]
    return [UNTILED, *(scheme for scheme in made if tile_count == "auto" or scheme.tiles <= tile_count)]


def _row_tiles(count: int, halo: Halo, unbounded: bool) -> list[TilingScheme]:
    lead = _LEADS[sum(count > few for few in (_FEW, 3 * _FEW))]
    made = [TilingScheme(count, 1, halo)] if count <= _FEW else []
    if halo is not Halo.RECOMPUTE and count >= _LEAST_WITH_LEAD:
        made.append(TilingScheme(count, 1, halo, lead))
        if unbounded and count > _FEW:
            made.append(TilingScheme(count + lead, 1, halo, lead))
    return made


def _in_column_tiles(columns: int, halo: Halo) -> list[TilingScheme]:
    made = [TilingScheme(rows, columns, halo) for rows in _FEW_ROWS]
    if halo is Halo.CACHE:
        return made + [TilingScheme(rows + _LEADS[-1], columns, halo, _LEADS[-1]) for rows in _MANY_ROWS]
    return made + [TilingScheme(rows, columns, halo) for rows in _MANY_ROWS[:2]]


def _largest_image(graph: Graph) -> int:
    """Rows times columns of the largest activation."""
    return max((math.prod(extent(tensor)[:2]) for tensor in graph.tensors if not tensor.is_constant), default=0)
