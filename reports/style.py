"""Style of the report's figures, in addition to `evaluation.planner.show.figure_style`: colours, axes, and reproducible
SVG."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from evaluation.planner.show.figure_style import FAINT
from reports.files import printable

# Okabe & Ito (2008), "Color universal design": distinguishable with every common kind of colour blindness.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442",
)  # fmt: skip
PALE = "#A9B4BE"
WIDTH = 6.9
"""Width of a figure in inches: the text's width on A4."""
PARAMETER_NAMES = {
    "pruning": "pruning method",
    "sparsity": "sparsity",
    "weight_bits": "weight bits",
    "activation_bits": "activation bits",
    "tile_count": "tiles",
    "aspp_weight_bits": "ASPP weight bits",
    "decoder_weight_bits": "decoder weight bits",
    "aspp_activation_bits": "ASPP activation bits",
    "decoder_activation_bits": "decoder activation bits",
}


def svg(figure: Figure) -> bytes:
    """The figure as SVG without a date, so that equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return printable(buffer.getvalue().decode()).encode()  # XML comments allow no control characters


def log_axis(axis: Any, low: float, high: float) -> None:
    """Set the ticks of a logarithmic axis to plain numbers, more of them on a short range."""
    steps: tuple[float, ...]
    if high / low > 4:
        steps = (1, 2, 5)
    elif high / low > 1.6:
        steps = (1, 1.5, 2, 3, 4, 5, 6, 8)
    else:
        steps = tuple(n / 10 for n in range(10, 100))
    axis.set_major_locator(LogLocator(base=10, subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(FixedLocator([]))
    axis.set_minor_formatter(NullFormatter())


def log_memory_axis(axes: Any) -> None:
    """Make the horizontal axis logarithmic, in MB, with a margin around points of about one size."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high / low < 1.5:
        axes.set_xlim(low / 1.3, high * 1.3)
    log_axis(axes.xaxis, *axes.get_xlim())


def pad_vertical_axis(axes: Any, least: float = 0.02) -> None:
    """A vertical axis that spans at least so much, so that noise does not fill the figure."""
    low, high = axes.get_ylim()
    if high - low < least:
        middle = (low + high) / 2
        axes.set_ylim(middle - least, middle + least)


def grid(axes: Any, axis: str = "both") -> None:
    axes.grid(True, which="major", axis=axis, color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
