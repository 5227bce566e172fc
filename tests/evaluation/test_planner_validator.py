"""Faults of every kind in every plan by hand: each must be found, and by its own name; and sound changes pass.

Next to it: `_rules` (each rule alone), `_random` (whatever is accepted must run byte by byte) and `_parts`.
"""

from dataclasses import replace

import pytest

from evaluation.graph.regions import Region
from evaluation.planner.ir.steps import Access, Role
from evaluation.planner.validate import validate
from tests.evaluation.plan_changes import (
    access_at,
    broken_rule,
    places,
    refigured,
    rule_of,
    together,
    uses,
    with_access,
    with_buffer,
    with_step,
    with_steps,
    without_step,
)
from tests.evaluation.plans_by_hand import PLANS, RESIDENT, arena_end, rows, up, whole_tensor
from tests.evaluation.plans_in_bytes import follow

every_plan = pytest.mark.parametrize("name", PLANS)


@every_plan
def test_sound_plans_pass_and_run_byte_by_byte(name):
    hand = PLANS[name]()
    validate(hand.plan, hand.graph)
    follow(hand.graph, hand.plan)


# --- every fault of a kind, in every plan


@every_plan
def test_every_misplaced_buffer_is_found(name):
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for number, buffer in enumerate(made.buffers):
        assert rule_of(graph, with_buffer(graph, made, number, offset=buffer.offset + 8)) == "misaligned"
        assert rule_of(graph, with_buffer(graph, made, number, offset=-16)) == "misaligned"
        for other, neighbour in enumerate(made.buffers):
            moved = replace(buffer, offset=neighbour.offset)
            if other == number or not together(moved, neighbour):
                continue
            rule = rule_of(graph, with_buffer(graph, made, number, offset=neighbour.offset))
            outside = Role.EXTERNAL_FRAME in (buffer.role, neighbour.role)
            assert rule in ("overlap", "misaligned") or (outside and rule == "arena"), (number, other)


@every_plan
def test_every_life_cut_short_is_found(name):
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for number, buffer in enumerate(made.buffers):
        used = uses(made, number)
        assert rule_of(graph, with_buffer(graph, made, number, lower=used[0] + 1)) in ("lifetime", "layout", "input")
        assert rule_of(graph, with_buffer(graph, made, number, upper=used[-1])) == "lifetime"
        holds_result = buffer.upper == len(made.steps) and set(buffer.tensors) & set(graph.outputs)
        if holds_result and used[-1] < buffer.upper - 1:
            assert rule_of(graph, with_buffer(graph, made, number, upper=buffer.upper - 1)) == "result"


@every_plan
def test_every_missing_byte_is_found(name):
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for number, buffer in enumerate(made.buffers):
        smaller = with_buffer(graph, made, number, size_bytes=buffer.size_bytes - 1)
        assert rule_of(graph, smaller) == "too small"


@every_plan
def test_every_missing_step_is_found(name):
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    found = {rule_of(graph, without_step(graph, made, number)) for number in range(len(made.steps))}
    known = {"read before write", "wrong contents", "result", "lifetime", "reduction", "overlap"}
    assert found
    assert found <= known


@every_plan
def test_every_step_before_the_one_it_needs_is_found(name):
    """Two neighbours exchanged, where the second reads what the first writes."""
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for number, (one, following) in enumerate(zip(made.steps, made.steps[1:], strict=False)):
        written = {(access.buffer, access.tensor) for access in one.writes}
        if not written & {(access.buffer, access.tensor) for group in following.reads for access in group}:
            continue
        swapped = [*made.steps[:number], following, one, *made.steps[number + 2 :]]
        # What begins to live in the second lives in both, out of everybody's way, so that only the contents are wrong.
        aside = 16 * up(made.arena_bytes)
        longer = [
            replace(b, lower=number, offset=b.offset + aside * (1 + sum(b.tensors))) if b.lower == number + 1 else b
            for b in made.buffers
        ]
        rule = rule_of(graph, refigured(graph, made, steps=tuple(swapped), buffers=tuple(longer)))
        assert rule in ("read before write", "wrong contents", "lifetime", "section", "chunks", "reduction"), number


@every_plan
def test_every_access_a_row_or_a_column_short_is_found(name):
    """The plans by hand read exactly what they need and write exactly what is read, so nothing can be left out."""
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for number, step in enumerate(made.steps):
        for place in places(step):
            access = access_at(step, place)
            for side, by in (("top", 1), ("bottom", -1), ("left", 1), ("right", -1)):
                less = replace(access.region, **{side: getattr(access.region, side) + by})
                broken = with_step(graph, made, number, with_access(step, place, replace(access, region=less)))
                assert rule_of(graph, broken) not in ("", "figures"), (number, place, side)


@every_plan
def test_every_access_beside_its_place_is_found(name):
    """A row or a column lower or higher, another channel, tensor or buffer."""
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for number, step in enumerate(made.steps):
        for place in places(step):
            access, wrong = access_at(step, place), []
            r = access.region
            for by in (-1, 1):
                wrong.append(replace(access, region=Region(r.top + by, r.bottom + by, r.left, r.right)))
                wrong.append(replace(access, region=Region(r.top, r.bottom, r.left + by, r.right + by)))
                wrong.append(replace(access, channel=access.channel + by))
            wrong += [replace(access, tensor=t) for t in range(len(graph.tensors)) if t != access.tensor]
            wrong += [replace(access, buffer=b) for b in range(-1, len(made.buffers) + 1) if b != access.buffer]
            for other in wrong:
                broken = with_step(graph, made, number, with_access(step, place, other))
                assert rule_of(graph, broken) not in ("", "figures"), (number, place, other)


@every_plan
def test_every_wrong_figure_is_found(name):
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    figures = "frame_bytes", "lower_bound_bytes", "macs", "mac_overhead", "high_water_step"
    for figure in figures:
        assert rule_of(graph, replace(made, **{figure: getattr(made, figure) + 1})) == "figures", figure
    assert rule_of(graph, replace(made, arena_bytes=made.arena_bytes + 16)) == "arena"
    assert rule_of(graph, replace(made, arena_bytes=made.arena_bytes - 16)) == "arena"
    assert rule_of(graph, replace(made, live_bytes=(*made.live_bytes[:-1], made.live_bytes[-1] + 1))) == "figures"
    assert rule_of(graph, replace(made, high_water_buffers=made.high_water_buffers[1:])) == "figures"


@every_plan
def test_every_step_of_another_operator_is_found(name):
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for number, step in enumerate(made.steps):
        for operator in range(-1, len(graph.operators) + 1):
            if (operator,) != step.operators:
                steps = (*made.steps[:number], replace(step, operators=(operator,)), *made.steps[number + 1 :])
                known = 0 <= operator < len(graph.operators)
                broken = refigured(graph, made, steps=steps) if known else with_steps(made, steps)
                assert rule_of(graph, broken) not in ("", "figures"), (number, operator)
        if step.reads:
            assert rule_of(graph, with_step(graph, made, number, replace(step, reads=()))) in ("operands", "copy")
        if step.writes:
            emptied = rule_of(graph, with_step(graph, made, number, replace(step, writes=())))
            assert emptied in ("operands", "copy", "reduction")


# --- changes that leave a plan sound


@every_plan
def test_sound_changes_are_accepted(name):
    """Nothing meets a buffer that is above all others; there it may live longer, and be larger than it need be."""
    graph, made = PLANS[name]().graph, PLANS[name]().plan
    for number, buffer in enumerate(made.buffers):
        is_chunk = buffer.role in RESIDENT and not whole_tensor(graph, buffer)
        if buffer.role is Role.EXTERNAL_FRAME or is_chunk:
            continue
        above = with_buffer(graph, made, number, offset=arena_end(made.buffers))
        assert rule_of(graph, above) == "", number
        size = buffer.size_bytes + 5
        longer = with_buffer(graph, above, number, lower=0, upper=len(made.steps), size_bytes=size)
        assert rule_of(graph, longer) == "", number


def test_reading_more_than_needed_is_sound():
    hand = PLANS["recomputed"]()
    step = hand.plan.steps[2]
    more = replace(step, reads=((replace(step.reads[0][0], region=rows(0, 8, 6)),),))
    assert rule_of(hand.graph, with_step(hand.graph, hand.plan, 2, more)) == ""


@pytest.mark.parametrize("name", ["cached", "wrapped ring"])
def test_a_ring_may_be_filled_row_by_row(name):
    hand = PLANS[name]()

    def by_rows(access: Access) -> list[Access]:
        region = access.region
        return [replace(access, region=replace(region, top=r, bottom=r + 1)) for r in range(region.top, region.bottom)]

    steps = [
        step if step.operators else replace(step, writes=tuple(row for w in step.writes for row in by_rows(w)))
        for step in hand.plan.steps
    ]
    assert broken_rule(hand, steps=tuple(steps)) == ""
