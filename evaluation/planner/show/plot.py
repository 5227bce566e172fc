"""A page that shows one plan: its buffers over steps and addresses, its sections, and the contributors to the peak.

A band above the axes shows the sections; the side lists the tensors alive at the fullest step. The same plan always
gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from evaluation.errors import UserError
from evaluation.graph import Graph
from evaluation.planner.ir.plan_types import Plan
from evaluation.planner.show.figure_style import MUTED, STYLE
from evaluation.planner.show.plot_margins import AXES, BAND, INCHES, draw_sections, draw_side, subtitle, title
from evaluation.planner.show.timeline import timeline_of
from evaluation.planner.show.timeline_figure import draw_timeline, role_legend


def write_plot(path: str | Path, graph: Graph, plan: Plan) -> None:
    """Draw the plan to an .svg, .pdf or .png file.

    Raises:
        UserError: the file cannot be written.
    """
    path = Path(path)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=INCHES)
        _draw(figure, graph, plan)
        undated = {"Date": None} if path.suffix == ".svg" else {"CreationDate": None} if path.suffix == ".pdf" else {}
        try:
            figure.savefig(path, dpi=150, metadata=undated)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); give a place where you may write") from None


def _draw(figure: Figure, graph: Graph, plan: Plan) -> None:
    timeline = timeline_of(graph, plan)
    axes, band = draw_timeline(figure, AXES, timeline), figure.add_axes(BAND)
    axes.set_xlabel("step of the schedule (one kernel over one tile)")
    band.set_xlim(axes.get_xlim())
    draw_sections(band, axes, graph, plan)
    figure.text(AXES[0], 0.965, title(plan), fontsize=13, weight="bold", va="center")
    figure.text(AXES[0], 0.932, subtitle(plan), fontsize=9, color=MUTED, va="center")
    squares, names = role_legend([timeline])
    figure.legend(
        squares, names, loc="lower left", bbox_to_anchor=(AXES[0], 0.012), ncols=len(names) or 1, frameon=False,
        fontsize=9, handlelength=1.2, handleheight=1.0, borderpad=0,
    )  # fmt: skip
    draw_side(figure, graph, plan)
