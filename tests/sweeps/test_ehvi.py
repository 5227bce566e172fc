"""The choice by expected gain per second: the gain itself, what is preferred, and what it saves."""

import numpy as np
import pytest
from standin_trial import StandInEvaluator

from evaluation.measurement import MemoryFigures
from reports.front import FrontPoint, hypervolume
from reports.record import Early, State, Trial
from sweeps.config.constraints import costs_of
from sweeps.config.space import BASELINE, Candidate, Compression, Space
from sweeps.search import gaussian_process
from sweeps.search.ehvi import Acquisition, Costs, expected_gain, next_candidate

SPACE = Space(("channels",), (0.0, 0.25, 0.5), (4, 6, 8, 32), (6, 8, 32), (1, 2, 4))
ACQUISITION = Acquisition()
EVALUATOR = StandInEvaluator()


def measured(number: int, candidate: Candidate, state: State = State.COMPLETE) -> Trial:
    found = EVALUATOR.evaluate(candidate) if state is State.COMPLETE else None
    return Trial(number, candidate.as_params(), str(candidate), state, state is State.COMPLETE, found)


def search(count: int, acquisition: Acquisition = ACQUISITION) -> list[Candidate]:
    told, untried = [measured(0, BASELINE)], [c for c in SPACE.candidates() if c != BASELINE]
    while len(told) < count:
        chosen = next_candidate(SPACE, told, [], untried, acquisition)
        untried.remove(chosen)
        told.append(measured(len(told), chosen))
    return [Candidate.from_params(trial.params) for trial in told]


def volume(points: list[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Of the region above and left of the points, by its definition on a grid of the coordinates."""
    least, most = reference
    inside = [(a, m) for a, m in points if a > least and m < most]
    return hypervolume([FrontPoint(i, a - least, m) for i, (a, m) in enumerate(inside)], most) * most if inside else 0.0


def test_the_expected_gain_is_the_mean_gain_in_hypervolume() -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        points = list(zip(rng.uniform(0.3, 0.9, 5), rng.uniform(1, 9, 5), strict=True))
        reference = (0.4, 8.0)
        miou, spread, memory = rng.uniform(0.2, 1, 4), rng.uniform(0, 0.1, 4), rng.uniform(0.5, 9, 4)
        found = expected_gain(points, reference, miou, spread, memory)
        for index in range(4):
            draws = rng.normal(miou[index], spread[index], 4000)
            before = volume(points, reference)
            gains = [volume([*points, (draw, memory[index])], reference) - before for draw in draws[:400]]
            assert found[index] == pytest.approx(np.mean(gains), abs=0.03 + 4 * np.std(gains) / 20)
        sure = expected_gain(points, reference, miou, np.zeros(4), memory)
        for index in range(4):
            exact = volume([*points, (miou[index], memory[index])], reference) - volume(points, reference)
            assert sure[index] == pytest.approx(exact, abs=1e-9)


def test_it_begins_with_the_corners_in_the_most_tiles() -> None:
    tried = search(4)
    assert [str(candidate) for candidate in tried] == [
        "unpruned, float, 1 tile",
        "unpruned, w8 a8, 4 tiles",
        "unpruned, w4 a6, 4 tiles",
        "channels 50 %, w6 a8, 4 tiles",
    ]


def test_the_same_trials_lead_to_the_same_choice() -> None:
    assert search(14) == search(14)


def test_where_pruning_is_dear_what_was_pruned_is_used_first() -> None:
    def prunings(costs: Costs) -> list[float]:
        return [candidate.compression.sparsity for candidate in search(7, Acquisition(costs))]

    assert set(prunings(Costs(prune=1000.0))) == {0.0, 0.5}
    assert 0.25 in prunings(Costs(prune=0.0, network=0.0))


def test_a_measured_network_in_fewer_bytes_costs_a_plan_only() -> None:
    told = [measured(0, BASELINE)]
    told += [measured(n + 1, c) for n, c in enumerate(search(4)[1:])]
    one_tile = Candidate(Compression("channels", 0.25, 6, 8), 1)
    told.append(measured(4, one_tile))
    untried = [c for c in SPACE.candidates() if all(str(c) != trial.name for trial in told)]
    chosen = next_candidate(SPACE, told, [], untried, Acquisition(Costs(network=1e6, prune=1e6)))
    assert chosen.compression in {Candidate.from_params(trial.params).compression for trial in told}
    assert chosen.tile_count == 4


def test_a_network_that_failed_is_left_for_last() -> None:
    failing = Compression("channels", 0.0, 6, 8)
    told = [measured(n, c) for n, c in enumerate(search(4))]
    told.append(measured(4, Candidate(failing, 4), State.FAILED))
    untried = [c for c in SPACE.candidates() if all(str(c) != trial.name for trial in told)]
    for number in range(5, 12):
        chosen = next_candidate(SPACE, told, [], untried, ACQUISITION)
        assert chosen.compression != failing
        untried.remove(chosen)
        told.append(measured(number, chosen))


@pytest.mark.parametrize(("name", "limit"), [("peak_memory_mb", 0.3), ("macs", 8e7)])
def test_above_a_limit_nothing_is_worth_anything(name: str, limit: float) -> None:
    told = [measured(n, c) for n, c in enumerate(search(8))]
    untried = [c for c in SPACE.candidates() if all(str(c) != trial.name for trial in told)]
    for number in range(8, 11):
        chosen = next_candidate(SPACE, told, [], untried, Acquisition(limits={name: limit}))
        assert costs_of(measured(0, chosen))[name] < 1.1 * limit
        untried.remove(chosen)
        told.append(measured(number, chosen))


def test_what_loses_more_than_it_may_is_of_no_use() -> None:
    """The first choice that a limit on the loss changes is of a network that keeps more."""
    free, bound = search(12), search(12, Acquisition(miou_drop=0.05))
    without, instead = next(pair for pair in zip(free, bound, strict=True) if pair[0] != pair[1])
    scores = [measured(0, candidate).measurement.scores.miou for candidate in (BASELINE, without, instead)]
    assert scores[0] - scores[1] > scores[0] - scores[2]
    assert search(12, Acquisition(miou_drop=0.5)) == free


def test_a_network_that_screening_has_ended_is_not_asked_for_in_other_tiles() -> None:
    """Scoring of 6 bits in one tile ended: it scores less than the trial that beat it, so fewer bytes cannot help it
    unless they are fewer than that trial's."""
    told = [measured(n, c) for n, c in enumerate(search(4))]
    dominating = next(trial for trial in told if trial.name == "unpruned, w8 a8, 4 tiles")
    ended = Candidate(Compression("channels", 0.0, 6, 8), 1)
    plan = EVALUATOR.plan_candidate(ended)
    early = Early(3, 6, dominating.number, -0.4)
    told.append(
        Trial(4, ended.as_params(), str(ended), State.PRUNED, False, planned=MemoryFigures.of_plan(plan),
              planned_macs=plan.macs, early=early)
    )  # fmt: skip
    untried = [c for c in SPACE.candidates() if all(str(c) != trial.name for trial in told)]
    free = Acquisition(Costs(plan=1e-6, network=1.0, prune=1.0))  # a network that is made already costs next to nothing
    for number in range(5, 9):
        chosen = next_candidate(SPACE, told, [], untried, free)
        assert chosen.compression != ended.compression
        untried.remove(chosen)
        told.append(measured(number, chosen))


def test_with_more_trials_than_a_process_is_conditioned_on_it_still_foretells() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(0, 1, (3 * gaussian_process.CONDITIONED, 2))
    surface = lambda at: np.sin(3 * at[:, 0]) - at[:, 1] ** 2  # noqa: E731
    process = gaussian_process.fitted_process(points[:-50], surface(points[:-50]))
    assert process.predict(points[-50:]) == pytest.approx(surface(points[-50:]), abs=0.02)
    assert len(process.X_train_) == gaussian_process.CONDITIONED


def test_scales_are_never_much_older_than_the_trials() -> None:
    rungs = [gaussian_process.fitting_rung(count) for count in range(1, gaussian_process.FITTED + 1)]
    assert all(count / gaussian_process.REFITTED - 1 <= rung <= count for count, rung in enumerate(rungs, 1))
    assert len(set(rungs)) < len(rungs) / 2
