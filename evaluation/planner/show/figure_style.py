"""Style of every figure, the planner's and the report's: colours of buffer roles, lines and type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evaluation.planner.ir.steps import Role

if TYPE_CHECKING:  # matplotlib is loaded only where something is drawn
    from matplotlib.typing import RcKeyType

INK, MUTED, FAINT = "#1B2A38", "#6B7885", "#D5DBE1"
# Okabe & Ito (2008), "Color universal design": distinct with every common kind of colour blindness.
ROLE_COLOURS = {
    Role.FRAME: "#56B4E9",
    Role.ACTIVATION: "#0072B2",
    Role.TILE: "#009E73",
    Role.ROW_CACHE: "#E69F00",
    Role.ACCUMULATOR: "#F0E442",
    Role.SCRATCH: "#CC79A7",
    Role.LABELS: "#D55E00",
}
"""Colour of every role that has buffers in the arena."""
DARK_ROLES = {Role.ACTIVATION, Role.TILE, Role.LABELS}
"""Roles on whose colour white letters read better."""
STYLE: dict[RcKeyType, object] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar sign
    "svg.fonttype": "path",
    "svg.hashsalt": "petitlab",
}
LABEL_POINTS = 7.5
"""Size of the letters of names within a figure."""


def role_name(role: Role) -> str:
    """The role in words, such as `row cache`."""
    return role.replace("_", " ")


def text_inches(lines: Sequence[str]) -> tuple[float, float]:
    """About the width and height of some lines of text, with a little room around them."""
    em = LABEL_POINTS / 72
    return (max(len(line) for line in lines) * 0.6 + 0.6) * em, (1.25 * len(lines) + 0.1) * em
