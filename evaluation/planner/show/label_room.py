"""Room for a line of text in a set of rectangles: found by a coarse grid of cells, and sums over windows of it.

A tensor that lives in chunks of rows covers a staircase and not one rectangle, so the room is searched in the union.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

COLUMNS, ROWS = 240, 160
"""Cells of the grid across and up: about 4 pixels of a screen each."""


def covered(rectangles: Sequence[tuple[float, float, float, float]]) -> npt.NDArray[np.bool]:
    """bool (ROWS, COLUMNS): cells whose centre is in one of the rectangles (left, right, low, high) of the unit
    square."""
    grid = np.zeros((ROWS, COLUMNS), bool)
    edges = np.array(rectangles, float).reshape(-1, 4)
    cells = np.array([COLUMNS, COLUMNS, ROWS, ROWS])
    first_centre = np.clip(np.ceil(edges * cells - 0.5), 0, cells).astype(int)
    for left, right, low, high in np.unique(first_centre, axis=0).tolist():
        grid[low:high, left:right] = True
    return grid


def find_box(grid: npt.NDArray[np.bool], width: float, height: float) -> tuple[float, float] | None:
    """The middle (x, y) of a box of covered cells, as close to the middle of all covered cells as there is one.

    None where the box has no room. Sizes and the result are shares of the unit square.
    """
    wide, high = int(np.ceil(width * COLUMNS)), int(np.ceil(height * ROWS))
    if not 0 < wide <= COLUMNS or not 0 < high <= ROWS:
        return None
    sums = np.zeros((ROWS + 1, COLUMNS + 1), np.int64)
    sums[1:, 1:] = grid.cumsum(0).cumsum(1)
    inside = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    rows, columns = np.nonzero(inside == high * wide)
    if not len(rows):
        return None
    y, x = (rows + high / 2) / ROWS, (columns + wide / 2) / COLUMNS
    filled = np.nonzero(grid)
    distance = np.hypot(y - (filled[0].mean() + 0.5) / ROWS, x - (filled[1].mean() + 0.5) / COLUMNS)
    best = int(distance.argmin())
    return float(x[best]), float(y[best])
