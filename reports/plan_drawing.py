"""A plan as an SVG for MLflow: address against step, each buffer a rectangle with a tooltip.

The drawing of the report, without tooltips, is `evaluation.planner.show.timeline_figure`.
"""

from __future__ import annotations

from html import escape

from evaluation.planner.show.figure_style import ROLE_COLOURS, role_name
from evaluation.planner.show.timeline import Timeline

_WIDTH, _HEIGHT = 960.0, 420.0
_LEFT, _TOP = 70.0, 46.0
_KEY_WIDTH = 110.0


def plan_drawing(timeline: Timeline, title: str) -> str:
    """The text of the SVG; tooltips show name, role, bytes, address and steps of a buffer."""
    arena, steps = max(timeline.arena_bytes, 1), max(timeline.step_count, 1)
    x, y = _WIDTH / steps, _HEIGHT / arena
    peak = timeline.high_water_step
    parts = [
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#D5DBE1"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}: arena {timeline.arena_bytes:,} B</text>',
        f'<text x="{_LEFT}" y="38" fill="#56636F">address, from 0 below, against the step of the schedule, '
        f"0 to {timeline.step_count}; grey: the step at which most is alive</text>",
    ]
    for block in timeline.buffers:
        left, width = _LEFT + block.lower * x, (block.upper - block.lower) * x
        height = block.size_bytes * y
        top = _TOP + _HEIGHT - block.offset * y - height
        said = (
            f"{block.name} ({role_name(block.role)}): {block.size_bytes:,} B at {block.offset:,}, "
            f"steps {block.lower} to {block.upper - 1}"
        )
        parts.append(
            f'<rect x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" height="{height:.2f}" '
            f'fill="{ROLE_COLOURS[block.role]}" stroke="white" stroke-width="0.3">'
            f"<title>{escape(said)}</title></rect>"
        )
    parts.append(
        f'<rect x="{_LEFT + peak * x:.2f}" y="{_TOP}" width="{max(x, 1.0):.2f}" height="{_HEIGHT}" fill="#1B2A38" '
        'fill-opacity="0.18"/>'
    )
    used = timeline.roles()
    for place, role in enumerate(used):
        left = _LEFT + place * _KEY_WIDTH
        below = _TOP + _HEIGHT + 16
        parts.append(f'<rect x="{left}" y="{below}" width="11" height="11" fill="{ROLE_COLOURS[role]}"/>')
        parts.append(f'<text x="{left + 16}" y="{below + 10}">{role_name(role)}</text>')
    body = "\n".join(parts)
    size = f'width="{_LEFT + _WIDTH + 20:.0f}" height="{_TOP + _HEIGHT + 44:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n{body}\n</svg>\n'
