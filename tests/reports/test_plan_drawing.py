"""The small drawing of a plan: every buffer where it is, in an SVG that any parser reads."""

from xml.etree import ElementTree

import pytest

from evaluation.planner import Role
from evaluation.planner.show.timeline import Timeline, TimelineBuffer
from reports.plan_drawing import plan_drawing

SVG = "{http://www.w3.org/2000/svg}"
BLOCKS = (TimelineBuffer("a<b", Role.FRAME, 40, 0, 2, 0), TimelineBuffer("c&d", Role.ROW_CACHE, 60, 1, 4, 40))


def test_each_buffer_is_a_rectangle_in_proportion_that_names_itself() -> None:
    root = ElementTree.fromstring(plan_drawing(Timeline(100, 100, 4, 1, BLOCKS), 'w8 a8, "4" tiles'))
    named = {e.find(f"{SVG}title").text: e.attrib for e in root.iter(f"{SVG}rect") if e.find(f"{SVG}title") is not None}
    assert list(named) == [
        "a<b (frame): 40 B at 0, steps 0 to 1",
        "c&d (row cache): 60 B at 40, steps 1 to 3",
    ]
    first, second = named.values()
    assert float(first["width"]) / float(second["width"]) == pytest.approx(2 / 3, abs=1e-3)
    assert float(first["height"]) / float(second["height"]) == pytest.approx(40 / 60, abs=1e-3)
    assert float(second["y"]) + float(second["height"]) == pytest.approx(float(first["y"]), abs=0.02)
    assert any("arena 100 B" in (text.text or "") for text in root.iter(f"{SVG}text"))
