"""P(on the front) against the definition, resample by resample, and on cases that can be told by looking."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.front import FrontPoint, pareto_front
from reports.membership import front_probability, shares_on_front
from reports.record import State


@given(st.data())
def test_a_share_counts_the_resamples_whose_front_holds_the_trial(data) -> None:
    trials, resamples = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 5))
    levels = st.integers(0, 3)
    mious = np.array([[data.draw(levels) / 4 for _ in range(resamples)] for _ in range(trials)])
    costs = np.array([[data.draw(levels), data.draw(levels)] for _ in range(trials)], float)
    expected = np.zeros(trials)
    for draw in range(resamples):
        points = [FrontPoint(n, mious[n, draw], costs[n, 0], costs[n, 1]) for n in range(trials)]
        for equal in pareto_front(points):
            for point in equal:
                expected[point.number] += 1 / resamples
    np.testing.assert_allclose(shares_on_front(mious, costs), expected)


def test_the_cheapest_is_always_on_the_front_and_who_costs_a_byte_more_for_the_same_never(study) -> None:
    record = study(*[State.COMPLETE] * 6)
    cheapest = min(record.trials, key=lambda trial: trial.memory.peak_memory_bytes)
    memory = replace(cheapest.memory, peak_memory_bytes=cheapest.memory.peak_memory_bytes + 1)
    costlier = replace(cheapest, number=6, measurement=replace(cheapest.measurement, memory=memory))
    shares = front_probability(replace(record, trials=(*record.trials, costlier)))
    assert set(shares) == set(range(7))
    assert (shares[cheapest.number], shares[6]) == (1.0, 0.0)


def test_every_front_point_has_a_share_and_equal_seeds_give_equal_ones(study) -> None:
    record = study(*[State.COMPLETE] * 6)
    shares = front_probability(record)
    assert all(shares[equal[0]] > 0 for equal in record.front)
    assert shares == front_probability(record)


def test_without_measured_trials_there_is_nothing(study) -> None:
    assert front_probability(study(State.FAILED, State.PRUNED)) == {}


@pytest.mark.parametrize("gap", [0.0, 0.05])
def test_two_trials_of_one_memory_share_the_front_by_their_scores(gap: float) -> None:
    draws = np.random.default_rng(0).normal(0, 0.02, (2, 4000))
    draws[1] += gap
    first, second = shares_on_front(draws, np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert first + second == pytest.approx(1.0)
    # Normal with standard deviation 0.02 sqrt(2): Phi(0.05 / 0.0283) = 0.961.
    assert second == pytest.approx(0.961 if gap else 0.5, abs=0.03)
