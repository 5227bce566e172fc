"""Colours, sizes and layout of the plan's image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluation.planner.ir.steps import Role

if TYPE_CHECKING:  # matplotlib is loaded only where something is drawn
    from matplotlib.typing import RcKeyType

INK, MUTED, FAINT, PALE = "#1B2A38", "#6B7885", "#D5DBE1", "#EEF1F4"
COLOURS = {
    Role.FRAME: "#56B4E9",
    Role.ACTIVATION: "#0072B2",
    Role.TILE: "#009E73",
    Role.ROW_CACHE: "#E69F00",
    Role.ACCUMULATOR: "#F0E442",
    Role.SCRATCH: "#CC79A7",
    Role.LABELS: "#D55E00",
}
DARK = {Role.ACTIVATION, Role.TILE, Role.LABELS}
"""Roles on whose colour white letters read better."""
STYLE: dict[RcKeyType, object] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "petitlab",
}
INCHES = (14.0, 7.6)
AXES, STRIP, SIDE = (0.06, 0.125, 0.65, 0.735), (0.06, 0.865, 0.65, 0.035), 0.722
"""Fractions of the figure: (left, bottom, width, height) of address plot and section column tile; where the lists
begin."""
LABEL_POINTS = LIST_POINTS = 7.5


def text_inches(lines: Sequence[str]) -> tuple[float, float]:
    """About the width and height of some lines of text, with a little room around them."""
    em = LABEL_POINTS / 72
    return (max(len(line) for line in lines) * 0.6 + 0.6) * em, (1.25 * len(lines) + 0.1) * em
