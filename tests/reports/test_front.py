"""The front against the definition, the hypervolume against rectangles counted by hand."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.front import FrontPoint, choose, hypervolume, knee, pareto_front, staircase

POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=12).map(
    lambda pairs: [FrontPoint(n, miou / 8, memory) for n, (miou, memory) in enumerate(pairs)]
)
POINTS_OF_THREE = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 4)), max_size=14).map(
    lambda triples: [FrontPoint(n, miou / 4, memory, third) for n, (miou, memory, third) in enumerate(triples)]
)


def dominates(a: FrontPoint, b: FrontPoint) -> bool:
    better = a.miou > b.miou or a.peak_memory_bytes < b.peak_memory_bytes or a.third < b.third
    return a.miou >= b.miou and a.peak_memory_bytes <= b.peak_memory_bytes and a.third <= b.third and better


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: list[FrontPoint]) -> None:
    expected = {p.number for p in points if not any(dominates(q, p) for q in points)}
    front = pareto_front(points)
    assert {p.number for equal in front for p in equal} == expected
    for equal in front:
        assert len({(p.miou, p.peak_memory_bytes) for p in equal}) == 1
        assert [p.number for p in equal] == sorted(p.number for p in equal)
    firsts = [equal[0] for equal in front]
    assert all(a.peak_memory_bytes < b.peak_memory_bytes and a.miou < b.miou for a, b in pairwise(firsts))


@given(POINTS_OF_THREE)
def test_the_front_of_three_objectives_is_what_nothing_dominates(points: list[FrontPoint]) -> None:
    front = pareto_front(points)
    expected = {p.number for p in points if not any(dominates(q, p) for q in points)}
    assert {p.number for equal in front for p in equal} == expected
    assert [equal[0].peak_memory_bytes for equal in front] == sorted(equal[0].peak_memory_bytes for equal in front)
    flat = staircase(points)
    assert all(a.peak_memory_bytes < b.peak_memory_bytes and a.miou < b.miou for a, b in pairwise(flat))
    assert {p.number for p in flat} <= {p.number for p in points}


def test_hypervolume_by_hand() -> None:
    # Reference memory 100: (20, .5) covers .8 x .5, (60, .75) adds .4 x .25; (90, .6) is dominated; 120 is outside.
    points = [FrontPoint(0, 0.5, 20), FrontPoint(1, 0.75, 60), FrontPoint(2, 0.6, 90), FrontPoint(3, 1.0, 120)]
    assert hypervolume(points, 100) == pytest.approx(0.8 * 0.5 + 0.4 * 0.25)
    assert hypervolume([], 100) == 0.0
    assert hypervolume([FrontPoint(0, 0.9, 100)], 100) == 0.0


def test_knee_is_the_farthest_above_the_line() -> None:
    front = [FrontPoint(0, 0.2, 100), FrontPoint(1, 0.7, 200), FrontPoint(2, 0.75, 400), FrontPoint(3, 0.8, 1600)]
    assert knee(front).number == 1
    # On the line itself (mIoU linear in log memory) all tie, and the most accurate is taken.
    line = [FrontPoint(n, 0.2 * n, round(100 * 2**n)) for n in range(1, 5)]
    assert knee(line).number == 4


@pytest.mark.parametrize("count", [1, 2])
def test_a_short_front_has_its_most_accurate_for_a_knee(count: int) -> None:
    front = [FrontPoint(n, 0.5 + n / 10, 100 * (n + 1)) for n in range(count)]
    chosen, why = choose(front, 0.6, "knee")
    assert chosen is not None
    assert chosen.number == count - 1
    assert "too few" in why


FRONT = [FrontPoint(0, 0.4, 1_000_000), FrontPoint(1, 0.6, 2_000_000), FrontPoint(2, 0.7, 4_000_000)]


def test_choice_by_budget() -> None:
    assert choose(FRONT, 0.7, "budget", budget_mb=3)[0].number == 1
    nothing, why = choose(FRONT, 0.7, "budget", budget_mb=0.5)
    assert nothing is None
    assert "the smallest needs 1.000 MB" in why


def test_choice_by_drop() -> None:
    assert choose(FRONT, 0.7, "max_drop", max_drop=0.15)[0].number == 1
    nothing, why = choose(FRONT, 0.9, "max_drop", max_drop=0.1)
    assert nothing is None
    assert "loses 0.2000" in why
    assert choose(FRONT, None, "max_drop", max_drop=0.1)[0] is None


@pytest.mark.parametrize(("rule", "figure"), [("budget", "budget_mb"), ("max_drop", "max_drop")])
def test_a_rule_without_its_figure_is_refused(rule: str, figure: str) -> None:
    with pytest.raises(ValueError, match=f"the rule {rule} needs {figure}"):
        choose(FRONT, 0.7, rule)


def test_nothing_to_choose_from() -> None:
    assert choose([], None, "knee")[0] is None


def test_points_of_one_memory_do_not_divide_by_zero() -> None:
    assert math.isclose(knee([FrontPoint(0, 0.5, 100)]).miou, 0.5)


@pytest.mark.parametrize(
    ("rule", "preferred", "next_best"),
    [({"rule": "budget", "budget_mb": 3}, 1, 0), ({"rule": "max_drop", "max_drop": 0.15}, 1, 2)],
)
def test_a_point_that_exceeds_its_plan_is_passed_over_while_another_fits(rule, preferred, next_best) -> None:
    assert choose(FRONT, 0.7, **rule)[0].number == preferred
    found, why = choose(FRONT, 0.7, **rule, exceeded={preferred: "its stack is too deep", 3: "another"})
    assert found.number == next_best
    assert why.endswith(
        "The rule's first point was skipped, because its C program exceeds its plan "
        f"(trial-00{preferred}: its stack is too deep)."
    )
    for over in ({next_best: "too deep"}, {}):
        assert choose(FRONT, 0.7, **rule, exceeded=over) == choose(FRONT, 0.7, **rule)


def test_where_no_point_is_within_plan_the_choice_says_so() -> None:
    over = dict.fromkeys(range(3), "too deep")
    found, why = choose(FRONT, 0.7, "budget", 3, exceeded=over)
    assert found.number == 1
    assert why.startswith("It is the most accurate that fits the budget of 3 MB.")
    assert why.endswith("But its C program exceeds its plan (too deep), and no point that fits is within plan.")


def test_a_knee_that_exceeds_its_plan_gives_way_to_that_of_the_rest() -> None:
    front = [FrontPoint(0, 0.2, 100), FrontPoint(1, 0.7, 200), FrontPoint(2, 0.75, 400), FrontPoint(3, 0.8, 1600)]
    assert choose(front, 0.8, "knee")[0].number == 1
    found, why = choose(front, 0.8, "knee", exceeded={1: "too deep"})
    assert found.number == 2
    assert why.startswith("It is the knee of the rest of the front")
    found, why = choose(front, 0.8, "knee", exceeded={1: "too deep", 2: "deeper"})
    assert found.number == 3
    assert "has 2 points, too few for a knee" in why
    assert "The rule's first 2 points were skipped" in why
    assert "trial-001: too deep; trial-002: deeper" in why


@given(POINTS, st.sets(st.integers(0, 11)), st.sampled_from(["knee", "budget", "max_drop"]))
def test_no_point_that_exceeds_its_plan_is_chosen_before_one_that_fits(points, over, rule) -> None:
    exceeded = dict.fromkeys(over, "too deep")
    front = [equal[0] for equal in pareto_front(points)]
    limits = {"budget_mb": 5e-6, "max_drop": 0.5}
    found, why = choose(front, 1.0, rule, **limits, exceeded=exceeded)
    plain, _ = choose(front, 1.0, rule, **limits)
    assert (found is None) == (plain is None)
    if found is not None and found.number in over:
        fits = {
            "knee": lambda point: True,
            "budget": lambda point: point.peak_memory_bytes <= 5,
            "max_drop": lambda point: point.miou >= 0.5,
        }[rule]
        assert all(point.number in over for point in front if fits(point))
        assert "no point that fits is within plan" in why
